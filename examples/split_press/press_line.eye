# The half that runs on the gateway: it hears of each trip, and decides how hot the press may become from then on.

rule press_line {
    version "1.0.0"
    description "After a trip the press runs cooler until the next shift"

    const FULL = 80.0
    const STEP = 10.0
    const LEAST = 60.0

    state limit: float = 80.0
    state trips: int = 0

    record Trip {
        temp: float
    }

    on event "press_tripped" as trip: Trip {
        trips = trips + 1
        limit = max(limit - STEP, LEAST)
        log.warn(
            "press tripped at {trip.temp:1} C, trip {trips} of this shift: its limit is {limit:0} C now"
        )
        # The board writes each change to its flash, so the gateway sets it once in 60 s at most.
        board.set_param("press_limit", limit) retry 3 backoff 30s
    }

    on cron "0 6,14,22 * * *" {
        if trips > 0 {
            board.set_param("press_limit", FULL) retry 3 backoff 30s
        }
        limit = FULL
        trips = 0
    }

    test "each trip makes the press run cooler, and there is a least limit" {
        send { temp: 81.0 }
        expect board.set_param("press_limit", 70.0)
        send { temp: 71.5 }
        expect board.set_param("press_limit", 60.0)
        send { temp: 61.0 }
        expect board.set_param("press_limit", 60.0)
        expect trips == 3
    }

    test "the next shift begins with the full limit" {
        given time "2026-06-01 13:59"
        send { temp: 81.0 }
        after 2min expect board.set_param("press_limit", 80.0)
        expect trips == 0
    }

    test "a shift without a trip changes nothing" {
        given time "2026-06-01 13:59"
        after 2min expect no board.set_param()
    }
}
