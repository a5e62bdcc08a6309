rule example {
    state closed: bool

    on every 1s

    if adc.read_channel(0) > 80.0 for 30s and not closed {
        closed = true
    }
    let hot = adc.read_channel(1) > 3.0 rises or closed
    closed = hot
}
