rule example {
    on every 1s

    x += 1
    y <<= 2
    z++
    w--
}
