rule example {
    on every 1s

    log.info("on")

    test "t" {
        send { temp }
        send { temp: 1
        send reading { 5 }
        expect x ==
    }
}
