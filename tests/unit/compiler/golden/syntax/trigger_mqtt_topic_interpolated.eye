rule a {
    on mqtt "a/{b}" as r: R {
        x = 1
        y = 
    }
}
