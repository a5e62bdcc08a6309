rule example {
    on every 1s

    let a = 1 < x < 5
    let b = x == y == z
}
