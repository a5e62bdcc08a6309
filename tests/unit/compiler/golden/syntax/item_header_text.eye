rule example {
    version 1.2
    priority "high"
    description "limit {limit}"

    on every 1s

    log.info("on")
}
