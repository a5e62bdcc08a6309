rule a {
    on every 500 {
        x = 1
        y = 
    }
}
