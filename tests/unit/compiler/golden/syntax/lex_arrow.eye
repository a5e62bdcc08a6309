rule example {
    on every 1s

    match mode {
        HEAT -> {
            x = 1
        }
    }
}
