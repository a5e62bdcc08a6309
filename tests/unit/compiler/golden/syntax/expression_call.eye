rule example {
    on every 1s

    let a = 5(1)
    let b = x[0](1)
    let c = gpio.
    let d = foo(a = 1)
    let e = "t"(1)
}
