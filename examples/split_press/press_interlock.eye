# The half that runs on the board: it stops the press by itself, with or without its gateway.

rule press_interlock {
    version "1.0.0"
    priority critical
    description "Stops the press while its oil is too hot"

    pin RELAY: output

    # The gateway lowers this one after a trip: see press_line.eye.
    param limit: float = 80.0 in 40.0..120.0

    const DEGREES_PER_COUNT = 0.1
    const BAND = 5.0
    # A broken probe counts as hot.
    const BROKEN = 9999.0

    on every 200ms

    let counts = adc.read_channel(0) retry 2 else BROKEN
    let temp = counts * DEGREES_PER_COUNT
    let hot = temp > limit hysteresis BAND
    if hot rises {
        emit press_tripped(temp: temp)
    }
    gpio.set_pin(RELAY, if hot then HIGH else LOW)

    test "stops the press and says so once" {
        given adc.read_channel(0) = 850
        after 1s expect gpio.set_pin(RELAY, HIGH)
        expect 1 times emit press_tripped(temp: 85.0)
    }

    test "lets it run again below the band" {
        given adc.read_channel(0) = 850
        after 1s given adc.read_channel(0) = 740
        after 2s expect gpio.set_pin(RELAY, LOW)
    }

    test "the gateway can lower the limit" {
        given limit = 70.0
        given adc.read_channel(0) = 750
        after 1s expect gpio.set_pin(RELAY, HIGH)
    }
}
