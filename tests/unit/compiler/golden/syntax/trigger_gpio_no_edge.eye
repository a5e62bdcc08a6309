rule a {
    on gpio DOOR {
        x = 1
        y = 
    }
}
