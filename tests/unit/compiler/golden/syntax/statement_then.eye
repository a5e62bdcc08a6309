rule example {
    on every 1s

    if a then {
        x = 1
    }
    if b then x = 2
    x = 3
}
