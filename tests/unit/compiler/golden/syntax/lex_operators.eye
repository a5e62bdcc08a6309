rule example {
    on every 1s

    if a === b !== c {
        x := 1
    }
    if a <> b {
        y = 1
    }
}
