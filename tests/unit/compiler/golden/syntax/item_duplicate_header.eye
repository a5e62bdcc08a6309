rule example {
    version "1"
    priority high
    version "2"
    priority low
    description "a"
    description "b"

    on every 1s

    log.info("on")
}
