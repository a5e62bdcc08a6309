rule example {
    on every 1s

    if a && b || !c {
        x = 1
    }
}
