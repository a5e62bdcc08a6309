rule window_mean {
    version "1.0.0"

    pin   FAN: output
    param limit: float = 1800.0

    on every 1s

    let mean = mean(adc.read_channel(0), last 20)
    gpio.set_pin(FAN, if mean > limit then HIGH else LOW)
}
