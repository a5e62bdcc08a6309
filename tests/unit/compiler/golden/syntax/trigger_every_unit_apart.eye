rule a {
    on every 500 ms {
        x = 1
        y = 
    }
}
