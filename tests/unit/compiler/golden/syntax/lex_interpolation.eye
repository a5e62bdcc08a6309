rule example {
    on every 1s

    log.info("{} {x {y:z} }")
    log.info("}")
    log.info("{x:99}")
    log.info("{a b}")
}
