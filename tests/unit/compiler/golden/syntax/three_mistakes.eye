rule pump {
    pin RELAY: outptu
    state trips: int = 0

    on every 500ms

    let temp = adc.read_channel(0 * 0.1
    if temp > 80.0 for 2 {
        gpio.set_pin(RELAY, HIGH)
        trips = trips + 1
    } else {
        gpio.set_pin(RELAY, LOW)
    }
}
