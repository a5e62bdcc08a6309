rule example {
    param a float = 1.0
    param b: float
    param c: float = 1.0 + 2.0
    param d: float = 1.0 in 0.0
    param e: float = x(1)
    param f: float = 1.0 in 0.0...9.0

    on every 1s

    log.info("on")
}
