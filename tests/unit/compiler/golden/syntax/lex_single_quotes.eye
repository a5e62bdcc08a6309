rule example {
    on every 1s

    log.info('it"s on')
}
