rule example {
    on every 1s

    if a {
        x = 1
    } elif b {
        x = 2
    } elseif c {
        x = 3
    } else {
        x = 4
    }
}
