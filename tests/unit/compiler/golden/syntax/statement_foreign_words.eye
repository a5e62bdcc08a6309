rule example {
    on every 1s

    while x > 1 {
        x = 1
    }
    return x
    fn foo() { y = 1 }
    break
    print("a")
    int n = 5
    import os
    try {
        x = 1
    }
    sleep 5s
}
