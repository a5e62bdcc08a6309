rule example {
    pin RELAY output
    pin A: outputs
    pin B: sideways
    pin
    pin 5: output

    on every 1s

    log.info("on")
}
