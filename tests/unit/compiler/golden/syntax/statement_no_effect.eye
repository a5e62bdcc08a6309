rule example {
    on every 1s

    x
    x + 1
    x == 1
    "text"
    5
    abs(x) + 1
    foo bar
}
