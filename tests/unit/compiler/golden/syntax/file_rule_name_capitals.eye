rule OverheatRelay {
    on every 1s
}
