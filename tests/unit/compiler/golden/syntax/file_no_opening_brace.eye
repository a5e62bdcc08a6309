rule a
    on every 1s

    x = 1
}
