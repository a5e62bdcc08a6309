rule a {
    on every 1s {
        x = 1
    }
    }

    test "t" {
        expect x == 1
    }
}
