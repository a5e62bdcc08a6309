rule a {
    on mqtt "a/b" {
        x = 1
        y = 
    }
}
