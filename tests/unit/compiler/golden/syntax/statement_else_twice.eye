rule example {
    on every 1s

    if a {
        x = 1
    } else {
        x = 2
    } else {
        x = 3
    }
    else {
        x = 4
    }
}
