rule a {
    test "t" {
        expect n == 0
    }

    state n: int = 0
    state m: int = 0

    on every 1s {
        n = 1
    }
}
