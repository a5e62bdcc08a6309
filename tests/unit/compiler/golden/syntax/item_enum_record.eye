rule example {
    enum Mode { }
    enum Level2 { A; B }
    record R { temp float }
    record S { temp: float = 1.0 + 1.0 }
    record T {
        a: int
        b: int

    on every 1s

    log.info("on")
}
