# A submersible pump that runs dry destroys its seal within a minute: no flow locks it out until somebody looks.

rule pump_dry_run {
    version "2.0.0"
    priority high
    description "Stops a pump that delivers nothing and keeps it off until it is reset"

    pin PUMP: output
    pin DEMAND: input
    pin RESET: input

    # The pump's data sheet: 20 l/min nominal, cooling needs at least 2.
    param min_flow: float = 2.0 in 0.1..20.0
    # Time to fill the pipe after a start.
    param prime: duration = 15s in 1s..2min

    const LITRES_PER_COUNT = 0.05

    state locked: bool = false
    state lockouts: int = 0

    on every 1s {
        # A flow meter that does not answer is the same as no flow, a float switch that does not as no demand.
        let counts = adc.read_channel(1) retry 2 else 0.0
        let demand = gpio.read_pin(DEMAND) retry 2 else LOW
        let flow = counts * LITRES_PER_COUNT
        let running = demand == HIGH and not locked

        if running and flow < min_flow for prime {
            locked = true
            lockouts = lockouts + 1
            log.error("pump ran dry at {flow:1} l/min, locked out")
            mqtt.publish("alarm/pump", "dry run, lockout {lockouts}") retry 5 backoff 1s else skip
        }
        gpio.set_pin(PUMP, if demand == HIGH and not locked then HIGH else LOW)
    }

    on gpio RESET rises {
        if locked {
            locked = false
            log.info("pump released by hand")
        }
    }

    test "runs on demand" {
        given adc.read_channel(1) = 400
        given gpio.read_pin(DEMAND) = HIGH
        after 1min expect gpio.set_pin(PUMP, HIGH)
        expect not locked
        given gpio.read_pin(DEMAND) = LOW
        after 62s expect gpio.set_pin(PUMP, LOW)
    }

    test "locks out after priming without flow, until reset" {
        given adc.read_channel(1) = 10
        given gpio.read_pin(DEMAND) = HIGH
        given gpio.read_pin(RESET) = LOW
        after 14s expect no gpio.set_pin(PUMP, LOW)
        after 15s expect gpio.set_pin(PUMP, LOW)
        expect mqtt.publish("alarm/pump", "dry run, lockout 1")
        after 1h expect no gpio.set_pin(PUMP, HIGH)
        given gpio.read_pin(RESET) = HIGH
        expect not locked
        expect log.info("pump released by hand")
    }

    test "reset without a lockout changes nothing" {
        given adc.read_channel(1) = 400
        given gpio.read_pin(DEMAND) = LOW
        given gpio.read_pin(RESET) = LOW
        after 1s given gpio.read_pin(RESET) = HIGH
        expect no log.info()
    }

    test "broken inputs stop the pump" {
        given adc.read_channel(1) fails
        given gpio.read_pin(DEMAND) = HIGH
        after 15s expect gpio.set_pin(PUMP, LOW)
        given gpio.read_pin(DEMAND) fails
        after 20s expect no gpio.set_pin(PUMP, HIGH)
    }
}
