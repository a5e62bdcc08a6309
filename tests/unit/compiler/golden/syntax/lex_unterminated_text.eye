rule example {
    on every 1s

    log.info("on)
    x = 1
}
