rule a {
    let x = 1
    gpio.set_pin(RELAY, HIGH)

    on every 1s {
        x = 1
    }

    x = 2
}
