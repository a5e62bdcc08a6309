rule {
    on every 1s
}
