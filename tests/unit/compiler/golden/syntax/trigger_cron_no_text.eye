rule a {
    on cron 0 6 * * * {
        x = 1
        y = 
    }
}
