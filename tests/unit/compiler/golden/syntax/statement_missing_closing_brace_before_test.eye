rule a {
    on every 1s

    if a {
        x = 1

    test "t" {
        expect x == 1
    }
}
