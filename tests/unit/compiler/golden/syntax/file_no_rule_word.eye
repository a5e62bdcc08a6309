overheat {
    on every 1s
}
