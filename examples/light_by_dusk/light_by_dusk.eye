# Light over a footpath: by dusk and not by the calendar, dimmed when nobody walks, off in the dead of night.

rule light_by_dusk {
    version "1.0.0"
    priority low
    description "Switches a path light by brightness, time of day and motion"

    pin LIGHT: output
    pin MOTION: input

    # Civil twilight is about 10 lux; street lights switch near 20.
    param dusk_lux: float = 20.0 in 1.0..200.0
    param night_from: duration = 23h in 20h..24h
    param night_to: duration = 5h30min in 3h..8h
    param linger: duration = 3min in 10s..30min

    # A photo diode at a 12-bit ADC: a quarter of a lux for each count.
    const LUX_PER_COUNT = 0.25

    state seen_at: duration = -1d

    on every 5s

    # A broken light sensor counts as dark: better a lit path by day than a dark one by night.
    let lux = LUX_PER_COUNT * adc.read_channel(3) retry 1 else 0.0
    let motion = gpio.read_pin(MOTION) else LOW
    if motion == HIGH {
        seen_at = now()
    }

    # A cloud or a headlight passes within two minutes.
    let dark = lux < dusk_lux hysteresis 10.0 for 2min
    let night = time_of_day() >= night_from or time_of_day() < night_to
    # On Friday and Saturday people come home late: full light all night.
    let weekend = weekday() >= 5 and weekday() <= 6
    let walked = now() - seen_at < linger

    let lit = dark and (not night or weekend or walked)
    gpio.set_pin(LIGHT, if lit then HIGH else LOW)

    test "on after two dark minutes in the evening" {
        given time "2026-11-02 17:00"
        given adc.read_channel(3) = 40
        given gpio.read_pin(MOTION) = LOW
        after 115s expect no gpio.set_pin(LIGHT, HIGH)
        after 2min expect gpio.set_pin(LIGHT, HIGH)
    }

    test "off by day, also after a passing shadow" {
        given time "2026-11-02 12:00"
        given adc.read_channel(3) = 4000
        given gpio.read_pin(MOTION) = HIGH
        after 5min given adc.read_channel(3) = 40
        after 6min given adc.read_channel(3) = 4000
        after 10min expect no gpio.set_pin(LIGHT, HIGH)
    }

    test "at night only for somebody" {
        given time "2026-11-02 23:30"
        given adc.read_channel(3) = 0
        given gpio.read_pin(MOTION) = LOW
        after 10min expect no gpio.set_pin(LIGHT, HIGH)
        given gpio.read_pin(MOTION) = HIGH
        after 11min expect gpio.set_pin(LIGHT, HIGH)
        given gpio.read_pin(MOTION) = LOW
        after 15min expect gpio.set_pin(LIGHT, LOW)
    }

    test "all night at the weekend" {
        given time "2026-11-07 02:00"
        given adc.read_channel(3) = 0
        given gpio.read_pin(MOTION) = LOW
        after 10min expect gpio.set_pin(LIGHT, HIGH)
    }

    test "broken sensors light an evening path" {
        given time "2026-11-02 20:00"
        given adc.read_channel(3) fails
        given gpio.read_pin(MOTION) fails
        after 2min expect gpio.set_pin(LIGHT, HIGH)
    }
}
