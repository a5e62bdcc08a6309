rule example {
    on every 1s

    log.info("C:\dir \u{110000} \u{zz} \q")
}
