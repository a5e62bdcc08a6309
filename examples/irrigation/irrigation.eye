# Waters a bed twice a day when its soil is dry: early and late, when little evaporates.

rule irrigation {
    version "1.0.0"
    description "Irrigation by schedule, soil moisture and rain"

    pin VALVE: output
    pin RAIN: input

    # Volumetric water content of loam: wilting begins near 15 %, a full root zone holds about 35 %.
    param dry_percent: float = 22.0 in 5.0..40.0
    param dose: duration = 12min in 1min..1h

    # A capacitive probe in a 10-bit ADC: 320 counts in air (0 %), 720 in water (100 %).
    const COUNTS_DRY = 320.0
    const COUNTS_SPAN = 400.0
    # What a broken probe counts as: wet. A dry bed lives a day, an open valve floods a cellar.
    const BROKEN = 720.0

    state watering: bool = false
    state ends_at: duration = 0s
    state doses: int = 0

    on cron "0 6,20 * * *" {
        let counts = adc.read_channel(2) retry 2 else BROKEN
        let raining = gpio.read_pin(RAIN) else LOW
        let moisture = clamp((counts - COUNTS_DRY) / COUNTS_SPAN * 100.0, 0.0, 100.0)

        if moisture < dry_percent and raining == LOW {
            watering = true
            ends_at = now() + dose
            doses = doses + 1
            log.info("soil at {moisture:0} %, watering for {dose}")
        } else {
            log.info("soil at {moisture:0} %, no watering")
        }
    }

    # The valve follows the state each ten seconds: after a power cut it closes in time, or at once.
    on every 10s {
        if watering and now() >= ends_at {
            watering = false
            log.info("watering done, dose {doses}")
        }
        gpio.set_pin(VALVE, if watering then HIGH else LOW)
    }

    test "waters a dry bed for the dose" {
        given time "2026-06-01 05:59"
        given adc.read_channel(2) = 360
        given gpio.read_pin(RAIN) = LOW
        after 50s expect no gpio.set_pin(VALVE, HIGH)
        after 1min10s expect gpio.set_pin(VALVE, HIGH)
        after 12min50s expect no gpio.set_pin(VALVE, LOW)
        after 13min10s expect gpio.set_pin(VALVE, LOW)
        expect doses == 1
    }

    test "leaves a wet bed alone" {
        given time "2026-06-01 19:59"
        given adc.read_channel(2) = 450
        given gpio.read_pin(RAIN) = LOW
        after 2min expect no gpio.set_pin(VALVE, HIGH)
    }

    test "rain is enough" {
        given time "2026-06-01 05:59"
        given adc.read_channel(2) = 360
        given gpio.read_pin(RAIN) = HIGH
        after 2min expect no gpio.set_pin(VALVE, HIGH)
    }

    test "a broken probe opens nothing" {
        given time "2026-06-01 05:59"
        given adc.read_channel(2) fails
        given gpio.read_pin(RAIN) fails
        after 2min expect no gpio.set_pin(VALVE, HIGH)
        expect not watering
    }
}
