rule example {
    on every 1s

    for x {
        y = 1
    }
    for in list {
        y = 1
    }
    for i in 0..n max m {
        y = 1
    }
    for i = 0 {
        y = 1
    }
}
