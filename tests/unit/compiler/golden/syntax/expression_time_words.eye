rule example {
    on every 1s

    let a = x for 2
    let b = x cooldown
    let c = x for 2.5
    let d = x > 1 hysteresis
    let e = for 2s
}
