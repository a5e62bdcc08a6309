rule a {
    on evry 1s {
        x = 1
        y = 
    }
}
