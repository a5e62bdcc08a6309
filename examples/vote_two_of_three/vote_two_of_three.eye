# Two out of three: a boiler's over-pressure trip that neither one wild transmitter causes nor one dead one prevents.

rule vote_two_of_three {
    version "1.0.0"
    priority critical
    description "Trips the burner when two of three pressure transmitters ask for it"

    pin BURNER: output

    param limit_bar: float = 6.0 in 1.0..16.0

    # 4-20 mA over 0 to 10 bar, in counts of 0.01 mA: 400 is 0 bar, 2000 is 10 bar.
    const COUNTS_ZERO = 400.0
    const COUNTS_PER_BAR = 160.0
    # NAMUR NE 43: below 3.6 mA or above 21 mA the transmitter says that it is broken.
    const COUNTS_LOW = 360.0
    const COUNTS_HIGH = 2100.0
    # What a transmitter that cannot be read counts as: broken.
    const UNREAD = 0.0

    state tripped: bool = false

    on every 200ms

    let a = adc.read_channel(0) else UNREAD
    let b = adc.read_channel(1) else UNREAD
    let c = adc.read_channel(2) else UNREAD

    var votes = 0
    var broken = 0
    let all = [a, b, c]
    for i in 0..3 {
        let counts = all[i]
        if counts < COUNTS_LOW or counts > COUNTS_HIGH {
            # A broken transmitter votes for the trip: of the two that are left, one is enough.
            broken = broken + 1
            votes = votes + 1
        } else if (counts - COUNTS_ZERO) / COUNTS_PER_BAR >= limit_bar {
            votes = votes + 1
        }
    }

    if votes >= 2 and not tripped {
        tripped = true
        log.error("burner tripped: {votes} of 3 votes, {broken} broken")
    }
    # Repeated a few times an hour, not five times a second.
    if broken > 0 cooldown 15min {
        log.warn("{broken} of 3 pressure transmitters broken")
    }
    # The burner's enable needs a HIGH, so a dead node stops the burner as well. A trip is released by a deployment.
    gpio.set_pin(BURNER, if tripped then LOW else HIGH)

    test "normal pressure" {
        given adc.read_channel(0) = 1200
        given adc.read_channel(1) = 1210
        given adc.read_channel(2) = 1190
        after 1s expect gpio.set_pin(BURNER, HIGH)
        expect no gpio.set_pin(BURNER, LOW)
        expect no log.error()
    }

    test "one wild transmitter does not trip" {
        given adc.read_channel(0) = 1900
        given adc.read_channel(1) = 1210
        given adc.read_channel(2) = 1190
        after 1s expect no gpio.set_pin(BURNER, LOW)
    }

    test "two trip, and it stays tripped" {
        given adc.read_channel(0) = 1400
        given adc.read_channel(1) = 1360
        given adc.read_channel(2) = 1190
        after 1s expect gpio.set_pin(BURNER, LOW)
        expect log.error("burner tripped: 2 of 3 votes, 0 broken")
        given adc.read_channel(0) = 1000
        given adc.read_channel(1) = 1000
        after 1min expect no gpio.set_pin(BURNER, HIGH)
    }

    test "one broken, one high is a trip" {
        given adc.read_channel(0) fails
        given adc.read_channel(1) = 1360
        given adc.read_channel(2) = 1190
        after 1s expect gpio.set_pin(BURNER, LOW)
        expect 1 times log.warn("1 of 3 pressure transmitters broken")
    }

    test "two broken is a trip" {
        given adc.read_channel(0) = 350
        given adc.read_channel(1) = 2150
        given adc.read_channel(2) = 1190
        after 1s expect gpio.set_pin(BURNER, LOW)
        expect tripped
    }
}
