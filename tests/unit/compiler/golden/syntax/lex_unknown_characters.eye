rule example {
    on every 1s

    a = $x
    b = @y
    c = größe
    d = 5 € 
    e = a ? b : c
    f = ~a
    g = 2 ** 3
}
