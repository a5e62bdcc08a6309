# Every construct of the language once; it need not make sense.
rule every_construct {
    version "1.2.0"
    priority high
    description "Texts with \"escapes\", \{braces\} and \u{1F525}"

    enum Mode { OFF, HEAT, COOL }
    record Reading { sensor: text(16), temp: float = 20.5, mode: Mode = Mode.HEAT }
    record Sample {
        value: float
        at: duration = 1h30min
        in: bool = true
    }
    pin RELAY: output
    pin DOOR: input
    param limit: float = 80.0 in -20.0..120.0
    param name: text(8) = "tank"
    const STEP = 0.5
    const BITS: int = 0x2A ^ 0b1010
    state trips: int = 0
    state recent: list(float, 10) = []
    state samples: list(Sample, 4)

    on every 500ms {
        let temp: float = adc.read_channel(0) retry 2 timeout 1s else 0.0
        var n = -1 + 2 * 3 % 4 - 10 / 5
        if temp > limit hysteresis 2.0 and not (n == 1 or n != 2) for 2s cooldown 10min {
            gpio.set_pin(RELAY, HIGH) retry 3 backoff 1s timeout 5s else skip
            trips = trips + 1
        } else if temp rises {
            gpio.set_pin(RELAY, LOW) else abort
        } else {
            log.info("now {temp:1} of {limit}, {if n > 1 then "many" else "one"}")
        }
        for x in recent {
            n = n + 1
        }
        for i in 0..10 {
            n = n << 1 & 255 | 1 >> 1
        }
        for i in 0..n max 10 {
            recent[i] = mean(temp, last 5min max 300) + rate(temp, last 20)
        }
        append(recent, temp)
        clear(recent)
        samples[0].value = clamp(temp, low: -1.0, high: [1.0, 2.0][0])
        emit overheated(temp: temp, count: count(temp > limit, last 1h))
    }

    on mqtt "plant/+/temp" as reading: Reading key sensor {
        match reading.mode {
            OFF => {}
            HEAT, COOL => {
                trips = 0
            }
            else => {
                trips = -9223372036854775808
            }
        }
    }

    on gpio DOOR changes {}

    on host every 2s as load: Reading {
        let ok = load.temp >= 1.0 falls
    }

    on cron "0 6 * * 1-5"

    trips = if trips > 5
        then 0
        else trips

    test "every step" {
        given adc.read_channel(0) = 850
        given adc.read_channel(1) fails
        given limit = 70.0
        given time "2026-03-01 06:00"
        at 1s
        after 2s expect no gpio.set_pin(RELAY, HIGH)
        send reading { sensor: "a", temp: 81.5 }
        send
        expect gpio.set_pin(RELAY)
        expect 3 times gpio.set_pin(RELAY, HIGH)
        expect no actions
        expect emit overheated(temp: 81.5)
        expect no emit overheated
        expect 2 times emit overheated()
        expect trap
        expect trips == 1 and not false
    }
}
