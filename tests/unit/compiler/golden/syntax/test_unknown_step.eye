rule example {
    on every 1s

    log.info("on")

    test "t" {
        gven x = 1
        wait 2s
        assert x == 1
        5
        expect x == 1
    }
}
