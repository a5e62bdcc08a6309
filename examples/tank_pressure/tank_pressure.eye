# A compressed-air tank: vents in time, raises an alarm, and does not repeat itself.

rule tank_pressure {
    version "1.1.0"
    priority high
    description "Opens the vent and raises alarms of a compressed-air tank"

    record Pressure {
        bar: float
    }

    pin VENT: output

    # The tank is rated for 10 bar; its mechanical safety valve opens at 9.5. We act before it.
    param vent_bar: float = 8.5 in 2.0..9.0
    param alarm_bar: float = 9.0 in 2.0..9.5
    # Below this the pneumatic grippers lose their hold.
    param low_bar: float = 5.5 in 1.0..8.0
    # The operator knows after the first message.
    param quiet: duration = 10min in 1min..1d

    state alarms: int = 0

    on mqtt "plant/tank1/pressure" as p: Pressure

    let venting = p.bar >= vent_bar hysteresis 0.5
    gpio.set_pin(VENT, if venting then HIGH else LOW)

    # Two seconds: the compressor's pulses are shorter.
    if p.bar >= alarm_bar for 2s cooldown quiet {
        alarms = alarms + 1
        log.error("tank at {p.bar:2} bar, alarm {alarms}")
        mqtt.publish("alarm/tank1/high", "{p.bar:2}") retry 5 backoff 1s else skip
    }
    # Half a minute: a big consumer may pull it down for a moment.
    if p.bar < low_bar for 30s cooldown quiet {
        mqtt.publish("alarm/tank1/low", "{p.bar:2}") retry 5 backoff 1s else skip
    }

    test "vents at the limit and closes half a bar below" {
        send { bar: 8.5 }
        expect gpio.set_pin(VENT, HIGH)
        after 1s send { bar: 8.2 }
        expect gpio.set_pin(VENT, HIGH)
        after 2s send { bar: 7.9 }
        expect gpio.set_pin(VENT, LOW)
    }

    test "alarms once in ten minutes" {
        send { bar: 9.2 }
        expect no mqtt.publish("alarm/tank1/high")
        after 2s send { bar: 9.2 }
        expect mqtt.publish("alarm/tank1/high", "9.20")
        after 5min send { bar: 9.3 }
        expect no mqtt.publish()
        after 11min send { bar: 9.4 }
        expect mqtt.publish("alarm/tank1/high", "9.40")
        expect alarms == 2
    }

    test "a pulse of the compressor is no alarm" {
        send { bar: 9.2 }
        after 1s send { bar: 8.9 }
        after 2s send { bar: 9.2 }
        after 3s send { bar: 9.2 }
        expect no mqtt.publish()
    }

    test "low pressure is an alarm when it stays" {
        send { bar: 5.0 }
        after 20s send { bar: 5.0 }
        expect no mqtt.publish()
        after 30s send { bar: 4.8 }
        expect mqtt.publish("alarm/tank1/low", "4.80")
    }
}
