# A room thermostat for a gas boiler: hysteresis around the set point, a minimum rest between two starts.

rule hysteresis_thermostat {
    version "1.0.0"
    description "Keeps a room at its set point without short cycling of the boiler"

    record Reading {
        room: text(32)
        celsius: float
    }

    pin BOILER: output

    param setpoint: float = 21.0 in 5.0..30.0
    # Half a degree is felt by nobody and saves most of the starts.
    param band: float = 0.5 in 0.1..3.0
    # Each start wears the burner: makers ask for five minutes of rest.
    param rest: duration = 5min in 0s..30min

    # Below this the pipes are in danger: heat at once, rest or not.
    const FROST = 5.0

    state heating: bool = false
    state stopped_at: duration = -1h

    on mqtt "home/+/temperature" as reading: Reading key room

    let cold = reading.celsius < setpoint - band hysteresis band
    let rested = now() - stopped_at >= rest

    if heating and not cold {
        heating = false
        stopped_at = now()
    } else if cold and (rested or reading.celsius < FROST) {
        heating = true
    }
    gpio.set_pin(BOILER, if heating then HIGH else LOW)

    test "heats when cold, stops at the set point" {
        send { room: "hall", celsius: 20.0 }
        expect gpio.set_pin(BOILER, HIGH)
        after 5min send { room: "hall", celsius: 20.8 }
        expect gpio.set_pin(BOILER, HIGH)
        after 10min send { room: "hall", celsius: 21.0 }
        expect gpio.set_pin(BOILER, LOW)
    }

    test "inside the band nothing starts" {
        send { room: "hall", celsius: 20.7 }
        expect gpio.set_pin(BOILER, LOW)
    }

    test "rests between two starts" {
        send { room: "hall", celsius: 20.0 }
        after 10min send { room: "hall", celsius: 21.2 }
        expect gpio.set_pin(BOILER, LOW)
        after 12min send { room: "hall", celsius: 20.0 }
        expect gpio.set_pin(BOILER, LOW)
        after 15min send { room: "hall", celsius: 20.0 }
        expect gpio.set_pin(BOILER, HIGH)
    }

    test "frost does not wait" {
        send { room: "hall", celsius: 20.0 }
        after 10min send { room: "hall", celsius: 21.2 }
        after 11min send { room: "hall", celsius: 4.0 }
        expect gpio.set_pin(BOILER, HIGH)
        expect heating
    }
}
