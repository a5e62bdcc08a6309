rule a {
    on gpio DOOR change {
        x = 1
        y = 
    }
}
