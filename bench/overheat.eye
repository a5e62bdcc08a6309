rule overheat_relay {
    version "1.2.0"
    priority high

    pin   RELAY: output
    param limit: float = 80.0
    state trips: int = 0

    on every 500ms

    let temp = adc.read_channel(0) * 0.1
    if temp > limit for 2s {
        gpio.set_pin(RELAY, HIGH)
        trips = trips + 1
    } else {
        gpio.set_pin(RELAY, LOW)
    }
}
