rule example {
    state n: int = 0
    description "Late"
    param limit: float = 80.0
    pin RELAY: output
    enum Mode { A, B }

    on every 1s {
        log.info("tick")
    }

    pin LATE: output

    on every 2s

    log.info("on")
}
