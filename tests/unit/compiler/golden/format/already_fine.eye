rule overheat_relay {
    version "1.2.0"
    priority high
    description "Switches the relay on when the machine stays hot"

    pin   RELAY: output
    param limit: float = 80.0 in 20.0..120.0
    state trips: int = 0

    on every 500ms

    let temp = adc.read_channel(0) * 0.1   # hot
    if temp > limit for 2s {
        gpio.set_pin(RELAY, HIGH)
        trips = trips + 1
    } else {
        gpio.set_pin(RELAY, LOW)
    }

    test "trips only when it stays hot" {
        given adc.read_channel(0) = 850
        after 1s expect no gpio.set_pin(RELAY, HIGH)
        after 2s expect gpio.set_pin(RELAY, HIGH)
    }
}
