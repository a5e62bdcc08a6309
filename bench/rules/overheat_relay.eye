rule overheat_relay {
    version "1.2.0"
    priority critical

    pin   RELAY: output
    param limit: float = 80.0 in 20.0..120.0
    param hold: duration = 2s in 0s..60s

    const DEGREES_PER_COUNT = 0.1
    const BAND = 5.0
    const BROKEN = 9999.0

    state trips: int = 0

    on every 500ms

    let counts = adc.read_channel(0) else BROKEN
    let temp = counts * DEGREES_PER_COUNT
    let hot = temp > limit hysteresis BAND for hold
    if hot rises {
        trips = trips + 1
    }
    gpio.set_pin(RELAY, if hot then HIGH else LOW)
}
