rule example {
    on every 1s

    let a = (1 + 2
    let b = foo(1, 2
    let c = [1, 2
    let d = x[1
    let e = 1)
    let f = (1]
}
