# A tank level by an external converter on SPI: an MCP3008, for boards with no analog pin to spare.

rule tank_level_spi {
    version "1.0.0"
    description "Fills a tank by the level that an MCP3008 converter reads"

    pin VALVE: output

    param low_percent: float = 40.0 in 5.0..90.0
    param high_percent: float = 80.0 in 10.0..95.0

    # MCP3008 (Microchip DS21295), mode 0, channel 0 single-ended: a byte that ends in the start bit, one with the
    # channel, one to clock the rest out. The answer is the last ten bits; those before them float.
    const BUS = 0
    const DEVICE = 0
    const CHANNEL_0 = 0x018000
    const BYTES = 3
    const TEN_BITS = 0x3FF
    # A submersible probe of 4 to 20 mA over 150 ohm is 0.6 to 3 V; at 3.3 V of reference 186 and 931 counts.
    const COUNTS_EMPTY = 186.0
    const COUNTS_FULL = 931.0
    # Below 3.6 mA the probe or its wire is broken (NAMUR NE 43).
    const COUNTS_BROKEN = 167.0

    state percent: float = 0.0
    state filling: bool = false

    on every 500ms

    let counts = float(spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) & TEN_BITS)
    let broken = counts < COUNTS_BROKEN
    if not broken {
        let share = (counts - COUNTS_EMPTY) / (COUNTS_FULL - COUNTS_EMPTY)
        percent = clamp(share * 100.0, 0.0, 100.0)
    }
    if broken for 5s cooldown 1h {
        log.error("the level probe is broken: {counts:0} counts")
    }

    # Rather an empty tank than a flooded hall.
    if broken or percent > high_percent {
        filling = false
    } else if percent < low_percent {
        filling = true
    }
    gpio.set_pin(VALVE, if filling then HIGH else LOW)

    test "the last ten bits are the counts, whatever floats before them" {
        # 0x210 are 528 counts.
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 0x000210
        after 0s expect percent > 45.9 and percent < 46.0
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 0xFFFA10
        after 500ms expect percent > 45.9 and percent < 46.0
    }

    test "fills between the two levels" {
        # 300 counts are 15 percent, 556 are 50 and 840 are 88.
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 300
        after 1s expect gpio.set_pin(VALVE, HIGH)
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 556
        after 2s expect no gpio.set_pin(VALVE, LOW)
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 840
        after 3s expect gpio.set_pin(VALVE, LOW)
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 556
        after 4s expect no gpio.set_pin(VALVE, HIGH)
    }

    test "a broken wire closes the valve and is said once" {
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 300
        after 1s expect gpio.set_pin(VALVE, HIGH)
        given spi.exchange(BUS, DEVICE, CHANNEL_0, BYTES) = 0
        after 2s expect gpio.set_pin(VALVE, LOW)
        after 20s expect 1 times log.error("the level probe is broken: 0 counts")
    }
}
