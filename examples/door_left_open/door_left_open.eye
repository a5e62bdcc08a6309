# The door of a cold room: a buzzer when it stays open, a message when nobody reacts.

rule door_left_open {
    version "1.0.0"
    description "Reminds people of an open cold-room door, then tells the duty phone"

    pin DOOR: input
    pin BUZZER: output

    # At -20 °C outside air warms a 20 m3 room by about 1 °C a minute.
    param patience: duration = 90s in 10s..10min
    param escalate: duration = 5min in 1min..1h

    state open: bool = false
    state opened_at: duration = 0s

    # The contact opens with the door (HIGH), so a cut wire looks like an open door.
    on gpio DOOR rises {
        open = true
        opened_at = now()
    }

    on gpio DOOR falls {
        open = false
        gpio.set_pin(BUZZER, LOW)
    }

    on every 5s {
        # An edge is missed while the node is down. A pin that cannot be read counts as open.
        let level = gpio.read_pin(DOOR) retry 1 else HIGH
        if level == HIGH and not open {
            open = true
            opened_at = now()
        }
        if level == LOW and open {
            open = false
            gpio.set_pin(BUZZER, LOW)
        }

        let open_for = now() - opened_at
        if open and open_for >= patience {
            gpio.set_pin(BUZZER, HIGH)
        }
        if open and open_for >= escalate cooldown 15min {
            mqtt.publish("alarm/coldroom/door", "open for {open_for}") retry 5 backoff 2s else skip
        }
    }

    test "a short visit is silent" {
        given gpio.read_pin(DOOR) = LOW
        after 10s given gpio.read_pin(DOOR) = HIGH
        after 1min expect no gpio.set_pin(BUZZER, HIGH)
        given gpio.read_pin(DOOR) = LOW
        expect gpio.set_pin(BUZZER, LOW)
        expect not open
        after 10min expect no actions
    }

    test "buzzes, then calls once in a quarter of an hour" {
        given gpio.read_pin(DOOR) = LOW
        after 10s given gpio.read_pin(DOOR) = HIGH
        after 95s expect no gpio.set_pin(BUZZER, HIGH)
        after 100s expect gpio.set_pin(BUZZER, HIGH)
        after 5min10s expect mqtt.publish("alarm/coldroom/door", "open for 5min")
        after 20min expect no mqtt.publish()
        after 21min expect 1 times mqtt.publish()
        given gpio.read_pin(DOOR) = LOW
        expect gpio.set_pin(BUZZER, LOW)
    }

    test "a contact that cannot be read counts as open, until it can" {
        given gpio.read_pin(DOOR) fails
        after 2min expect open
        expect gpio.set_pin(BUZZER, HIGH)
        given gpio.read_pin(DOOR) = LOW
        after 2min5s expect not open
        expect gpio.set_pin(BUZZER, LOW)
    }
}
