rule a {
    on every period {
        x = 1
        y = 
    }
}
