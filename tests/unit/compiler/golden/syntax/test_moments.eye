rule example {
    on every 1s

    log.info("on")

    test "t" {
        after 2
        at x expect y == 1
        after
        after 2s 3s
    }
}
