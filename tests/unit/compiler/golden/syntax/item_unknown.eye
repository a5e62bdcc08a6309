rule example {
    parm limit: float = 80.0
    variable x: int = 0
    fn foo() {
        x = 1
    }
    import gpio
    42

    on every 1s

    log.info("on")
}
