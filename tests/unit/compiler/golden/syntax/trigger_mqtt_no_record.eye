rule a {
    on mqtt "a/b" as reading {
        x = 1
        y = 
    }
}
