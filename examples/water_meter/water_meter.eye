# A water meter with a reed contact: count litres by edges, and shut the main when water runs without a pause.

rule water_meter {
    version "1.0.0"
    description "Counts a water meter's pulses and shuts the main valve when water never stops"

    pin PULSE: input
    pin VALVE: output
    pin RESET: input

    # A shower takes half an hour at most; a burst pipe runs on.
    param longest: duration = 40min in 5min..6h
    # So long without a pulse is a pause: below three litres an hour the meter does not even turn.
    param quiet: duration = 5min in 1min..1h

    state litres: int = 0
    state before: duration = 0s
    state since: duration = 0s
    state shut: bool = false

    # One pulse is one litre. The board looks at its inputs once in a scan of 10 ms, and a reed contact bounces for less;
    # more than 50 pulses a second are too fast for it.
    on gpio PULSE rises {
        litres = litres + 1
        if now() - before > quiet {
            since = now()
        }
        before = now()
    }

    on every 10s {
        let running = before > 0s and now() - before <= quiet
        if running and now() - since > longest and not shut {
            shut = true
            log.error(
                "water has run since {in_seconds(now() - since) / 60.0:0} min: main shut at {litres} l"
            )
        }
        gpio.set_pin(VALVE, if shut then HIGH else LOW)
    }

    on gpio RESET rises {
        shut = false
        since = now()
    }

    test "counts each rising edge once" {
        given gpio.read_pin(PULSE) = LOW
        given gpio.read_pin(RESET) = LOW
        after 1s given gpio.read_pin(PULSE) = HIGH
        after 2s given gpio.read_pin(PULSE) = LOW
        after 3s given gpio.read_pin(PULSE) = HIGH
        after 10s expect litres == 2
        expect gpio.set_pin(VALVE, LOW)
    }

    test "water that never stops shuts the main, until somebody looks" {
        given longest = 5min
        given gpio.read_pin(PULSE) = LOW
        given gpio.read_pin(RESET) = LOW
        after 10min given gpio.read_pin(PULSE) = HIGH
        after 11min given gpio.read_pin(PULSE) = LOW
        after 13min given gpio.read_pin(PULSE) = HIGH
        after 15min expect gpio.set_pin(VALVE, LOW)
        after 15min10s expect gpio.set_pin(VALVE, HIGH)
        expect log.error("water has run since 5 min: main shut at 2 l")
        after 1h expect shut
        given gpio.read_pin(RESET) = HIGH
        expect not shut
        after 61min expect gpio.set_pin(VALVE, LOW)
    }

    test "a pause starts the time anew" {
        given longest = 5min
        given gpio.read_pin(PULSE) = LOW
        given gpio.read_pin(RESET) = LOW
        after 10min given gpio.read_pin(PULSE) = HIGH
        after 11min given gpio.read_pin(PULSE) = LOW
        after 16min given gpio.read_pin(PULSE) = HIGH
        after 20min expect not shut
    }
}
