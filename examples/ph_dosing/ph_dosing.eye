# A pool's acid pump by a pH probe with a serial line: ask, collect the answer byte by byte, dose in short shots.

rule ph_dosing {
    version "1.0.0"
    description "Doses acid by an Atlas EZO pH probe on a serial port"

    pin PUMP: output

    param target: float = 7.2 in 6.5..8.0
    # A shot must have mixed before the next is decided on.
    param pause: duration = 10min in 1min..2h

    # Atlas Scientific EZO-pH: 9600 baud; `R` and a carriage return ask, some 0.9 s later comes a text like 7.214 with a
    # carriage return behind it. Its own codes start with an asterisk: *OK, *ER.
    const PORT = 0
    const NOTHING = -1
    const CARRIAGE_RETURN = 13
    const DOT = 46
    const ZERO = 48
    const NINE = 57

    state value: float = 0.0
    state digits: int = 0
    # What a digit behind the dot is worth; zero before the dot.
    state scale: float = 0.0
    state good: bool = true
    state ph: float = 0.0
    state known: bool = false
    state heard: duration = 0s

    # Between two looks 19 bytes may arrive at 9600 baud; a board keeps 64, and an answer has about 6.
    on every 20ms {
        let byte = uart.read_byte(PORT) else NOTHING
        if byte == CARRIAGE_RETURN {
            if good and digits > 0 and value < 14.0 {
                ph = value
                known = true
                heard = now()
            }
            value = 0.0
            digits = 0
            scale = 0.0
            good = true
        } else if byte >= ZERO and byte <= NINE {
            digits = digits + 1
            let digit = float(byte - ZERO)
            if scale == 0.0 {
                value = value * 10.0 + digit
            } else {
                value = value + digit * scale
                scale = scale / 10.0
            }
        } else if byte == DOT {
            good = good and scale == 0.0
            scale = 0.1
        } else if byte != NOTHING {
            good = false
        }
    }

    on every 2s {
        uart.write_text(PORT, "R\u{D}")
        # An old value is none: acid is not dosed on a guess.
        let fresh = known and now() - heard < 10s
        let dose = fresh and ph > target + 0.1 cooldown pause
        gpio.set_pin(PUMP, if dose then HIGH else LOW)
        if dose {
            log.info("pH {ph:2}: one shot of acid")
        }
        if not fresh for 1min cooldown 1h {
            log.warn("the pH probe does not answer")
        }
    }

    test "asks every two seconds" {
        given uart.read_byte(PORT) = NOTHING
        after 1s expect 1 times uart.write_text(PORT, "R\u{D}")
        after 2s expect 1 times uart.write_text(PORT, "R\u{D}")
    }

    test "7.52 and a carriage return is a pH, and too much of it" {
        given uart.read_byte(PORT) = NOTHING
        after 20ms given uart.read_byte(PORT) = 55
        after 40ms given uart.read_byte(PORT) = DOT
        after 60ms given uart.read_byte(PORT) = 53
        after 80ms given uart.read_byte(PORT) = 50
        after 100ms given uart.read_byte(PORT) = CARRIAGE_RETURN
        after 120ms given uart.read_byte(PORT) = NOTHING
        after 2s expect ph > 7.519 and ph < 7.521
        expect gpio.set_pin(PUMP, HIGH)
        expect log.info("pH 7.52: one shot of acid")
        after 4s expect gpio.set_pin(PUMP, LOW)
    }

    test "two digits before the dot" {
        given uart.read_byte(PORT) = NOTHING
        after 20ms given uart.read_byte(PORT) = 49
        after 40ms given uart.read_byte(PORT) = 48
        after 60ms given uart.read_byte(PORT) = DOT
        after 80ms given uart.read_byte(PORT) = 49
        after 100ms given uart.read_byte(PORT) = CARRIAGE_RETURN
        after 120ms given uart.read_byte(PORT) = NOTHING
        after 2s expect ph > 10.09 and ph < 10.11
    }

    test "what is no number changes nothing" {
        # *1.2 and 1.2.3, each with a carriage return, and a carriage return alone.
        given uart.read_byte(PORT) = NOTHING
        after 20ms given uart.read_byte(PORT) = 42
        after 40ms given uart.read_byte(PORT) = 49
        after 60ms given uart.read_byte(PORT) = DOT
        after 80ms given uart.read_byte(PORT) = 50
        after 100ms given uart.read_byte(PORT) = CARRIAGE_RETURN
        after 120ms given uart.read_byte(PORT) = 49
        after 140ms given uart.read_byte(PORT) = DOT
        after 160ms given uart.read_byte(PORT) = 50
        after 180ms given uart.read_byte(PORT) = DOT
        after 200ms given uart.read_byte(PORT) = 51
        after 220ms given uart.read_byte(PORT) = CARRIAGE_RETURN
        after 240ms given uart.read_byte(PORT) = CARRIAGE_RETURN
        after 260ms given uart.read_byte(PORT) = NOTHING
        after 2s expect not known
        expect gpio.set_pin(PUMP, LOW)
    }

    test "an old answer is none, and a port that fails is silent" {
        given uart.read_byte(PORT) = NOTHING
        after 20ms given uart.read_byte(PORT) = 56
        after 40ms given uart.read_byte(PORT) = CARRIAGE_RETURN
        after 60ms given uart.read_byte(PORT) = NOTHING
        after 2s expect gpio.set_pin(PUMP, HIGH)
        given uart.read_byte(PORT) fails
        after 14s expect gpio.set_pin(PUMP, LOW)
        after 90s expect 1 times log.warn("the pH probe does not answer")
    }
}
