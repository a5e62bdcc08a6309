rule a {
    on every 1s

    test {
        expect x == 1
    }
    test "a
        expect x == 1
    }
}
