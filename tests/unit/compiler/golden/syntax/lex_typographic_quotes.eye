rule example {
    on every 1s

    log.info(“on”)
}
