rule example {
    on every 1s

    log.info("{1 +} and {gpio.}")
}
