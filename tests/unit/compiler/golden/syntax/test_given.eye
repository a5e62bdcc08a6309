rule example {
    on every 1s

    log.info("on")

    test "t" {
        given x
        given x == 1
        given adc.read(0)
        given a.b = 1
        given = 1
        given time 5
    }
}
