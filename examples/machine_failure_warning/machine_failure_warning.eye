# Warns before a machine fails, from one temperature: it compares the last half day with what is usual for this machine.
# Made for recordings of the shape `timestamp,value`, one value each five minutes (the "machine temperature system failure"
# recording of the Numenta Anomaly Benchmark has it).

rule machine_failure_warning {
    version "1.0.0"
    priority high
    description "Warns when a machine's temperature leaves what is usual for it"

    record Sample {
        value: float
    }

    # A bearing that runs 20 degrees (Fahrenheit) colder than usual for half a day carries no load, or is not lubricated.
    param drop: float = 20.0 in 1.0..100.0
    # Too hot is too hot, whatever is usual.
    param high: float = 107.0 in 50.0..200.0
    param hold: duration = 6h in 5min..2d

    # The usual is a mean that forgets over two weeks: weekends and shifts are in it.
    const MEMORY = 14d

    state usual: float = 0.0
    state last_at: duration = 0s
    state started: bool = false
    state warnings: int = 0

    on event "machine" as sample: Sample

    # 144 samples in 12 h at five minutes; twice as many for a recording with doubled rows.
    let recent = mean(sample.value, last 12h max 288)

    if not started {
        started = true
        usual = sample.value
    } else {
        # A first-order lag with the time that really went by, so that gaps in the data do no harm.
        let weight = min((now() - last_at) / MEMORY, 1.0)
        usual = usual + (sample.value - usual) * weight
    }
    last_at = now()

    if recent < usual - drop for hold cooldown 3d {
        warnings = warnings + 1
        log.warn("half-day mean {recent:1} is {usual - recent:1} below the usual {usual:1}")
        emit machine_warning(recent: recent, usual: usual)
    }
    if sample.value > high for 15min cooldown 3d {
        warnings = warnings + 1
        log.error("temperature {sample.value:1} above {high:1}")
    }

    test "steady is silent" {
        send { value: 90.0 }
        after 6h send { value: 88.0 }
        after 12h send { value: 91.0 }
        expect no actions
        expect warnings == 0
    }

    test "warns of a lasting drop, once in three days" {
        send { value: 90.0 }
        after 12h send { value: 50.0 }
        expect no actions
        after 15h send { value: 50.0 }
        expect no actions
        after 18h send { value: 50.0 }
        expect log.warn()
        expect emit machine_warning()
        after 24h send { value: 50.0 }
        expect no actions
        expect warnings == 1
    }

    test "a dip that recovers is no warning" {
        send { value: 90.0 }
        after 12h send { value: 50.0 }
        after 13h send { value: 120.0 }
        after 18h send { value: 90.0 }
        after 19h send { value: 50.0 }
        expect warnings == 0
    }

    test "warns of heat that stays a quarter of an hour" {
        send { value: 108.0 }
        after 10min send { value: 108.0 }
        expect no actions
        after 15min send { value: 108.5 }
        expect log.error("temperature 108.5 above 107.0")
    }
}
