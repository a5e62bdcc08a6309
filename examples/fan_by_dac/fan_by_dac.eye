# An inverter's fan speed as an analog output: proportional to the temperature, and never in jumps.

rule fan_by_dac {
    version "1.0.0"
    description "Sets the speed of a fan by an analog output, from a TMP36 at an analog input"

    param start_celsius: float = 30.0 in 10.0..60.0
    param full_celsius: float = 50.0 in 20.0..90.0

    # TMP36 (Analog Devices): 500 mV at 0 C and 10 mV for each degree; a converter of 12 bits at 3.3 V.
    const MILLIVOLTS_PER_COUNT = 3300.0 / 4095.0
    const MILLIVOLTS_ZERO = 500.0
    const MILLIVOLTS_PER_CELSIUS = 10.0
    # -40 to 125 C are 100 to 1750 mV: what lies outside is a broken wire or a short.
    const MILLIVOLTS_LOW = 100.0
    const MILLIVOLTS_HIGH = 1750.0
    # Below a fifth of its speed the motor does not turn.
    const LEAST = 819.0
    const FULL = 4095.0
    # From rest to full in ten seconds: the belt slips when it goes faster.
    const STEP = 200.0

    state speed: float = 0.0

    on every 500ms

    let millivolts = adc.read_channel(0) * MILLIVOLTS_PER_COUNT
    let broken = millivolts < MILLIVOLTS_LOW or millivolts > MILLIVOLTS_HIGH
    let celsius = (millivolts - MILLIVOLTS_ZERO) / MILLIVOLTS_PER_CELSIUS

    let share = clamp((celsius - start_celsius) / (full_celsius - start_celsius), 0.0, 1.0)
    let on = celsius > start_celsius hysteresis 2.0
    # A fan without a thermometer blows: noise is better than a fire.
    let wanted = if broken then FULL else if on then LEAST + share * (FULL - LEAST) else 0.0
    speed = clamp(wanted, speed - STEP, speed + STEP)

    dac.write_channel(0, int(round(speed)))

    if broken for 1s cooldown 1h {
        log.error("the thermometer gives {millivolts:0} mV: fan at full speed")
    }

    test "cold and still" {
        # 20 C: 700 mV.
        given adc.read_channel(0) = 869
        after 1s expect dac.write_channel(0, 0)
    }

    test "half way between start and full" {
        # 40 C: 900 mV, 1117 counts.
        given adc.read_channel(0) = 1117
        after 30s expect speed > 2450.0 and speed < 2465.0
    }

    test "rises in steps and arrives at full" {
        # 55 C: 1050 mV.
        given adc.read_channel(0) = 1303
        after 0s expect dac.write_channel(0, 200)
        after 1s expect dac.write_channel(0, 600)
        after 11s expect dac.write_channel(0, 4095)
        given adc.read_channel(0) = 869
        after 12s expect speed > 3600.0 and speed < 3800.0
        after 30s expect dac.write_channel(0, 0)
    }

    test "a broken wire is full speed, and said once" {
        given adc.read_channel(0) = 0
        after 15s expect dac.write_channel(0, 4095)
        expect 1 times log.error("the thermometer gives 0 mV: fan at full speed")
    }

    test "a short is, too" {
        given adc.read_channel(0) = 4095
        after 15s expect speed == FULL
    }
}
