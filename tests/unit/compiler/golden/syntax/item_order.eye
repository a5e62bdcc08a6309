rule example {
    state n: int = 0
    param limit: float = 80.0
    pin RELAY: output
    enum Mode { A, B }

    on every 1s

    log.info("on")
}
