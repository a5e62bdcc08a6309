rule example {
    on every 1s

    a = 5sec
    b = 1.5s
    c = 5m
    d = 30min1h
    e = 1s1s
    f = 2.5min
    g = 1h30
}
