# A cold room with a digital thermometer on the board's I2C bus: the compressor holds 4 C, and the alarm says when it cannot.

rule cold_room {
    version "1.0.0"
    priority high
    description "Keeps a cold room at its temperature with a TMP102 on I2C"

    pin COMPRESSOR: output
    pin ALARM: output

    param limit: float = 4.0 in -25.0..15.0
    param band: float = 1.5 in 0.5..5.0

    # TMP102 (Texas Instruments SBOS397): address 0x48 with ADD0 at ground, register 0 is the temperature. It sends the
    # high byte first: 12 bits in two's complement, left-aligned, 0.0625 C each.
    const BUS = 0
    const ADDRESS = 0x48
    const REGISTER = 0
    const SIGN = 0x800
    const CELSIUS_PER_COUNT = 0.0625
    # No word of 16 bits: the sensor does not answer.
    const SILENT = -1

    on every 1s

    let word = i2c.read_word(BUS, ADDRESS, REGISTER) retry 2 else SILENT
    # Flipping the sign bit and taking its weight off again extends the sign.
    let counts = ((word >> 4) ^ SIGN) - SIGN
    let celsius = float(counts) * CELSIUS_PER_COUNT
    let silent = word == SILENT

    # Without a thermometer the compressor runs: too cold spoils less than too warm.
    let cool = silent or celsius > limit hysteresis band
    gpio.set_pin(COMPRESSOR, if cool then HIGH else LOW)

    let warm = celsius > limit + 3.0 for 10min
    let lost = silent for 30s
    if warm rises {
        log.error("cold room at {celsius:1} C")
    }
    if lost rises {
        log.error("the thermometer does not answer")
    }
    gpio.set_pin(ALARM, if warm or lost then HIGH else LOW)

    test "the counts of the data sheet" {
        given i2c.read_word(BUS, ADDRESS, REGISTER) = 0x1900
        after 15min expect log.error("cold room at 25.0 C")
    }

    test "below zero counts as below zero" {
        given limit = -20.0
        # -25 C is 0xE70, left-aligned; taken for an unsigned number it would be +231 C.
        given i2c.read_word(BUS, ADDRESS, REGISTER) = 0xE700
        after 1s expect gpio.set_pin(COMPRESSOR, LOW)
        # -0.25 C: 0xFFC.
        after 2s given i2c.read_word(BUS, ADDRESS, REGISTER) = 0xFFC0
        after 3s expect gpio.set_pin(COMPRESSOR, HIGH)
        after 15min expect log.error("cold room at -0.2 C")
    }

    test "hysteresis keeps the compressor from chattering" {
        # 4.5 C, then 3 C, then 2.4375 C.
        given i2c.read_word(BUS, ADDRESS, REGISTER) = 0x0480
        after 1s expect gpio.set_pin(COMPRESSOR, HIGH)
        given i2c.read_word(BUS, ADDRESS, REGISTER) = 0x0300
        after 10s expect no gpio.set_pin(COMPRESSOR, LOW)
        given i2c.read_word(BUS, ADDRESS, REGISTER) = 0x0270
        after 11s expect gpio.set_pin(COMPRESSOR, LOW)
    }

    test "a sensor that does not answer cools, and calls after half a minute" {
        given i2c.read_word(BUS, ADDRESS, REGISTER) fails
        after 5s expect gpio.set_pin(COMPRESSOR, HIGH)
        expect gpio.set_pin(ALARM, LOW)
        after 31s expect gpio.set_pin(ALARM, HIGH)
        expect 1 times log.error("the thermometer does not answer")
    }
}
