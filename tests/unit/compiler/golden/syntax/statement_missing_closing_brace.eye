rule example {
    on every 1s

    if a {
        x = 1

    y = 2
}
