rule Overheat-Relay {
    on every 1s
}
