# Motor protection: a relay drops the contactor of a motor whose housing stays too hot.
# The probe is a PT100 with a 0-10 V transmitter: one count is a tenth of a degree.

rule overheat_relay {
    version "1.2.0"
    priority critical
    description "Switches the relay on while the motor housing stays too hot"

    pin RELAY: output

    # Insulation class F bears 155 °C inside; the housing then shows about 80 °C.
    param limit: float = 80.0 in 20.0..120.0
    # Starting current heats the housing for a moment: a short excursion is normal.
    param hold: duration = 2s in 0s..60s

    const DEGREES_PER_COUNT = 0.1
    # Five degrees between on and off, so that the contactor does not chatter.
    const BAND = 5.0
    # What a broken probe counts as: hot, because the safe state is "relay on".
    const BROKEN = 9999.0

    state trips: int = 0

    on every 500ms

    let counts = adc.read_channel(0) retry 2 else BROKEN
    let temp = counts * DEGREES_PER_COUNT
    let hot = temp > limit hysteresis BAND for hold

    if hot rises {
        trips = trips + 1
        log.warn("motor at {temp:1} C, relay on, trip {trips}")
    }
    if hot falls {
        log.info("motor back at {temp:1} C, relay off")
    }
    gpio.set_pin(RELAY, if hot then HIGH else LOW)

    test "trips only when it stays hot" {
        given adc.read_channel(0) = 850
        after 1s expect no gpio.set_pin(RELAY, HIGH)
        after 2s expect gpio.set_pin(RELAY, HIGH)
        expect trips == 1
    }

    test "a short excursion does not trip" {
        given adc.read_channel(0) = 850
        after 1s given adc.read_channel(0) = 700
        after 2s given adc.read_channel(0) = 850
        after 3s expect no gpio.set_pin(RELAY, HIGH)
        expect trips == 0
    }

    test "comes back only below the band" {
        given adc.read_channel(0) = 850
        after 3s given adc.read_channel(0) = 780
        after 4s expect no gpio.set_pin(RELAY, LOW)
        given adc.read_channel(0) = 750
        after 5s expect gpio.set_pin(RELAY, LOW)
        expect log.info()
    }

    test "a broken probe is the same as too hot" {
        given adc.read_channel(0) fails
        after 3s expect gpio.set_pin(RELAY, HIGH)
    }

    test "the limit is a parameter" {
        given limit = 90.0
        given adc.read_channel(0) = 850
        after 10s expect no gpio.set_pin(RELAY, HIGH)
    }
}
