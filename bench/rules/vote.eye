rule vote {
    version "1.0.0"
    priority critical

    pin   BURNER: output
    param limit_bar: float = 6.0 in 1.0..16.0

    const COUNTS_ZERO = 400.0
    const COUNTS_PER_BAR = 160.0
    const COUNTS_LOW = 360.0
    const COUNTS_HIGH = 2100.0
    const UNREAD = 0.0

    state trips: int = 0

    on every 200ms

    let a = adc.read_channel(0) else UNREAD
    let b = adc.read_channel(1) else UNREAD
    let c = adc.read_channel(2) else UNREAD
    var votes = 0
    for counts in [a, b, c] {
        if counts < COUNTS_LOW or counts > COUNTS_HIGH {
            votes = votes + 1
        } else if (counts - COUNTS_ZERO) / COUNTS_PER_BAR >= limit_bar {
            votes = votes + 1
        }
    }
    if votes >= 2 rises {
        trips = trips + 1
    }
    gpio.set_pin(BURNER, if votes >= 2 or trips >= 50 then LOW else HIGH)
}
