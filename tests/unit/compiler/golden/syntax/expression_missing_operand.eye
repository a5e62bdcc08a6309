rule example {
    on every 1s

    let a = 1 +
    let b = * 2
    let c = (1 + )
    let d = not
    let e = foo(1,, 2)
    let f = a and
}
