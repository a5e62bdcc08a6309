rule example {
    on every 1s

    log.info("{"{"{"{"{x}"}"}"}"}")
}
