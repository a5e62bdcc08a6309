# The grid bills a company for its highest quarter-hour mean: loads that can wait are shed before it is reached.

rule peak_shaving {
    version "1.0.0"
    description "Keeps the quarter-hour mean of the grid power below the contracted peak"

    enum Stage {
        NORMAL
        HEAT_PUMP_OFF
        ALL_OFF
    }

    record Power {
        kw: float
    }

    pin HEAT_PUMP: output
    pin CHARGERS: output

    # What the contract allows as a quarter-hour mean.
    param peak_kw: float = 50.0 in 5.0..1000.0

    # Shed the heat pump (hours of inertia) at 90 %, the car chargers too at 97 %.
    const FIRST = 0.9
    const SECOND = 0.97
    # Give back below 80 %, and not before ten minutes: compressors do not like short cycles.
    const BACK = 0.8

    state stage: Stage = NORMAL
    state highest_kw: float = 0.0

    # The meter sends each 10 s: a quarter of an hour is 90 samples.
    on mqtt "energy/grid" as grid: Power

    let mean_kw = mean(grid.kw, last 15min max 100)
    let relaxed = mean_kw < peak_kw * BACK for 10min
    highest_kw = max(highest_kw, mean_kw)

    let before = stage
    match before {
        NORMAL => {
            if mean_kw > peak_kw * FIRST {
                stage = HEAT_PUMP_OFF
            }
        }
        HEAT_PUMP_OFF => {
            if mean_kw > peak_kw * SECOND {
                stage = ALL_OFF
            } else if relaxed {
                stage = NORMAL
            }
        }
        ALL_OFF => {
            if relaxed {
                stage = NORMAL
            }
        }
    }
    if stage != before {
        log.info("{mean_kw:1} kW of {peak_kw:0}: {before} to {stage}")
    }
    gpio.set_pin(HEAT_PUMP, if stage == NORMAL then HIGH else LOW)
    gpio.set_pin(CHARGERS, if stage == ALL_OFF then LOW else HIGH)

    test "below the peak everything runs" {
        send { kw: 40.0 }
        expect gpio.set_pin(HEAT_PUMP, HIGH)
        expect gpio.set_pin(CHARGERS, HIGH)
    }

    test "sheds in two stages and gives back after ten minutes" {
        send { kw: 46.0 }
        expect gpio.set_pin(HEAT_PUMP, LOW)
        expect gpio.set_pin(CHARGERS, HIGH)
        after 1min send { kw: 60.0 }
        expect gpio.set_pin(CHARGERS, LOW)
        expect highest_kw == 53.0
        after 20min send { kw: 30.0 }
        expect gpio.set_pin(CHARGERS, LOW)
        after 30min send { kw: 30.0 }
        expect gpio.set_pin(CHARGERS, HIGH)
        expect gpio.set_pin(HEAT_PUMP, HIGH)
    }

    test "the first stage may be enough" {
        send { kw: 46.0 }
        after 16min send { kw: 30.0 }
        expect stage == HEAT_PUMP_OFF
        after 26min send { kw: 30.0 }
        expect stage == NORMAL
    }
}
