# Bearing watch: the RMS of the vibration velocity over ten seconds, against the zones of ISO 10816-1, class II.

rule vibration_rms {
    version "1.0.1"
    priority high
    description "Warns and trips on the RMS of the vibration velocity"

    enum Zone {
        GOOD
        WATCH
        TRIP
    }

    record Sample {
        machine: text(16)
        mm_per_s: float
    }

    pin STOP: output

    # ISO 10816-1 class II (15 to 75 kW): zone B ends at 2.8 mm/s, zone C at 7.1 mm/s.
    param watch_mm_per_s: float = 2.8 in 0.5..20.0
    param trip_mm_per_s: float = 7.1 in 0.5..50.0

    state zone: Zone = GOOD
    state peak: float = 0.0

    on event "vibration" as s: Sample key machine

    # The sensor sends 10 samples a second: 10 s are 100 samples, with room for late ones.
    let rms = sqrt(mean(s.mm_per_s * s.mm_per_s, last 10s max 120))
    peak = max(peak, rms)

    # Three seconds: a lorry in the yard shakes everything for one.
    let tripped = rms > trip_mm_per_s for 3s
    let watched = rms > watch_mm_per_s hysteresis 0.3 for 3s
    let next = if tripped or zone == TRIP then TRIP else if watched then WATCH else GOOD

    if next != zone {
        zone = next
        match next {
            GOOD => {
                log.info("{s.machine}: {rms:1} mm/s, good again")
            }
            WATCH => {
                log.warn("{s.machine}: {rms:1} mm/s, plan a look at the bearing")
            }
            TRIP => {
                log.error("{s.machine}: {rms:1} mm/s, stopped")
                emit machine_stopped(machine: s.machine, rms: rms)
            }
        }
    }
    gpio.set_pin(STOP, if zone == TRIP then HIGH else LOW)

    test "quiet machine" {
        send { machine: "fan1", mm_per_s: 1.0 }
        after 10s send { machine: "fan1", mm_per_s: -1.0 }
        expect gpio.set_pin(STOP, LOW)
        expect zone == GOOD
    }

    test "warns, and recovers below the band" {
        send { machine: "fan1", mm_per_s: 4.0 }
        expect zone == GOOD
        after 3s send { machine: "fan1", mm_per_s: -4.0 }
        expect log.warn("fan1: 4.0 mm/s, plan a look at the bearing")
        after 14s send { machine: "fan1", mm_per_s: 1.0 }
        expect log.info("fan1: 1.0 mm/s, good again")
        expect zone == GOOD
        expect peak == 4.0
    }

    test "trips and stays tripped" {
        send { machine: "fan1", mm_per_s: 9.0 }
        after 3s send { machine: "fan1", mm_per_s: 9.0 }
        expect gpio.set_pin(STOP, HIGH)
        expect emit machine_stopped(machine: "fan1", rms: 9.0)
        after 1min send { machine: "fan1", mm_per_s: 0.5 }
        expect gpio.set_pin(STOP, HIGH)
        expect zone == TRIP
    }
}
