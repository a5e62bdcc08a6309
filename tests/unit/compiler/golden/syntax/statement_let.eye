rule example {
    on every 1s

    let x
    let = 1
    let last = 1
    let 5 = 1
    let y: = 1
    var z int = 1
}
