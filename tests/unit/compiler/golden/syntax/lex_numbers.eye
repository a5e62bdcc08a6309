rule example {
    on every 1s

    a = 5.
    b = .5
    c = 1__0
    d = 0xZZ
    e = 0b12
    f = 0o17
    g = 12abc
    h = 0X1F
    i = 1_
}
