rule example {
    on every 1s

    if x = 1 {
        y = 1
    } else if (a = 2) and b = 3 {
        y = 2
    }
}
