rule a {
    on every 1s
}
log.info("on")
