# Water leaks in a building, found by the rate of the main meter: a burst at once, a dripping tap by its patience.

rule leak_detector {
    version "1.3.0"
    priority critical
    description "Closes the main valve on a burst and reports flow that never stops"

    record Meter {
        litres: float
    }

    pin MAIN_CLOSE: output

    # Two showers and a washing machine take about 30 l/min together; a burst 15 mm pipe gives 60 and more.
    param burst_l_per_min: float = 45.0 in 10.0..200.0
    # A running toilet cistern takes 0.2 to 1 l/min. Nobody draws water for four hours without a pause.
    param trickle_l_per_min: float = 0.1 in 0.02..5.0
    param patience: duration = 4h in 10min..2d

    state closed: bool = false

    # The meter sends its counter each 10 s.
    on mqtt "building/water/main" as meter: Meter

    let fast = rate(meter.litres, last 1min max 12) * 60.0
    let slow = rate(meter.litres, last 10min max 120) * 60.0

    if (fast > burst_l_per_min for 30s) and not closed {
        closed = true
        gpio.set_pin(MAIN_CLOSE, HIGH) retry 3 backoff 500ms
        mqtt.publish(
            "alarm/water",
            "burst: {fast:0} l/min, main valve closed",
        ) retry 10 backoff 2s else skip
    }
    if slow > trickle_l_per_min for patience cooldown 1d {
        mqtt.publish(
            "alarm/water",
            "{slow:1} l/min without a pause for {patience}",
        ) retry 10 backoff 2s else skip
    }

    test "a burst closes the valve, once" {
        send { litres: 1000.0 }
        after 10s send { litres: 1010.0 }
        expect no actions
        after 20s send { litres: 1020.0 }
        after 30s send { litres: 1030.0 }
        after 40s send { litres: 1040.0 }
        expect gpio.set_pin(MAIN_CLOSE, HIGH)
        expect mqtt.publish("alarm/water", "burst: 60 l/min, main valve closed")
        after 50s send { litres: 1050.0 }
        expect no actions
        expect closed
    }

    test "a full bathtub is no burst" {
        send { litres: 1000.0 }
        after 1min send { litres: 1020.0 }
        after 2min send { litres: 1040.0 }
        expect no actions
    }

    test "a trickle is found by patience" {
        given patience = 10min
        send { litres: 1000.0 }
        after 5min send { litres: 1002.0 }
        after 10min send { litres: 1004.0 }
        expect no actions
        after 15min send { litres: 1006.0 }
        expect mqtt.publish("alarm/water", "0.4 l/min without a pause for 10min")
    }
}
