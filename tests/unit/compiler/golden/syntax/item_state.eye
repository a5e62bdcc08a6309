rule example {
    state n = 0
    state m: list(float) = []
    state k: list(float, n) = []
    state if: int = 0

    on every 1s

    log.info("on")
}
