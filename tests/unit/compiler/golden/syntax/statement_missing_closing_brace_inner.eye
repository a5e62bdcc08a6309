rule a {
    on every 1s {
        if a {
            if b {
                x = 1
        }
        y = 2
    }
}
