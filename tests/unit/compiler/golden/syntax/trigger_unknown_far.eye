rule a {
    on sunset {
        x = 1
        y = 
    }
}
