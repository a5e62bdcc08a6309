rule example {
    on every 1s

    log.info("on")

    test "t" {
        expect
        expect no
        expect no x
        expect 3 times x
        expect x = 1
        expect 3 gpio.set(1)
        expect gpio.set(1) gpio.set(2)
    }
}
