rule order2 {
    version "1.0.0"

    record R {
        v: float
    }

    state ticks: int = 0

    on every 1s {
        ticks = ticks + 1
    }

    on mqtt "a" as r: R {
        log.info("after {ticks} ticks")
    }

    test "as recorded" {
        send { v: 1.0 }
        expect log.info("after 1 ticks")
        at 1s send { v: 1.0 }
        expect log.info("after 2 ticks")
        at 2s send { v: 1.0 }
        expect log.info("after 3 ticks")
    }
}
