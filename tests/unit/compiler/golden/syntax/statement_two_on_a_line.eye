rule example {
    on every 1s

    x = 1 y = 2
    let a = 1 let b = 2
    foo.bar(1) foo.bar(2)
}
