# A stable's climate sensor that falls silent is more dangerous than a bad value: the fans then run on a safe schedule.

rule stale_sensor_watchdog {
    version "1.0.0"
    priority high
    description "Notices that a climate sensor has gone silent and falls back to full ventilation"

    record Climate {
        celsius: float
        humidity: float = 50.0
    }

    pin FAN: output

    # The sensor reports each 30 s; three lost messages in a row are not chance.
    param silence: duration = 100s in 10s..1h
    param warm: float = 24.0 in 10.0..40.0

    state last_seen: duration = 0s
    state started: bool = false
    state stale: bool = false

    on mqtt "farm/stable/climate" as reading: Climate {
        last_seen = now()
        started = true
        if stale {
            stale = false
            log.info("sensor is back: {reading.celsius:1} C, {reading.humidity:0} %")
        }
        let ventilate = reading.celsius > warm hysteresis 1.5
        gpio.set_pin(FAN, if ventilate then HIGH else LOW)
    }

    on every 10s {
        # After the first start of all, silence counts from the first tick.
        if not started {
            started = true
            last_seen = now()
        }
        let silent_for = now() - last_seen
        stale = silent_for > silence
        if stale {
            gpio.set_pin(FAN, HIGH)
        }
        if stale cooldown 30min {
            log.error("no climate reading for {silent_for}, fan on")
            emit sensor_stale(sensor: "farm/stable/climate", silent_for: silent_for)
        }
    }

    test "controls the fan by temperature" {
        send { celsius: 26.0, humidity: 60.0 }
        expect gpio.set_pin(FAN, HIGH)
        after 30s send { celsius: 23.0 }
        expect gpio.set_pin(FAN, HIGH)
        after 60s send { celsius: 22.0 }
        expect gpio.set_pin(FAN, LOW)
    }

    test "silence turns the fan on, once reported in half an hour" {
        send { celsius: 18.0 }
        expect gpio.set_pin(FAN, LOW)
        after 100s expect no gpio.set_pin(FAN, HIGH)
        after 110s expect gpio.set_pin(FAN, HIGH)
        expect emit sensor_stale(sensor: "farm/stable/climate", silent_for: 110s)
        after 31min expect no log.error()
        after 32min expect 1 times log.error()
    }

    test "a sensor that never spoke is stale too" {
        after 2min expect stale
        expect gpio.set_pin(FAN, HIGH)
    }

    test "reports the return" {
        send { celsius: 18.0 }
        after 5min expect stale
        after 5min5s send { celsius: 19.5, humidity: 55.0 }
        expect log.info("sensor is back: 19.5 C, 55 %")
        expect gpio.set_pin(FAN, LOW)
        expect not stale
    }
}
