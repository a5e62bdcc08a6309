rule example {
    on every 1s

    let a = if x 1 else 2
    let b = if x then 1
    let c = if x then else 2
}
