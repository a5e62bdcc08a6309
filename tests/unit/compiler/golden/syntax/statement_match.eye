rule example {
    on every 1s

    match mode {
        HEAT, COOL: { x = 1 }
        Mode.OFF => { x = 2 }
        A | B => { x = 3 },
        else => x = 4
    }
    y = 1
}
