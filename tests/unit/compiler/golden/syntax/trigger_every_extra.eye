rule a {
    on every 1s and cron "* * * * *" {
        x = 1
        y = 
    }
}
