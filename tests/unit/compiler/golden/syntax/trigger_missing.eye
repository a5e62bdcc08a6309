rule a {
    on {
        x = 1
        y = 
    }
}
