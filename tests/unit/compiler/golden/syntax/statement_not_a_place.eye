rule example {
    on every 1s

    abs(x) = 1
    5 = x
    n: int = 1
    x.y.z = 1
    "a" = 1
}
