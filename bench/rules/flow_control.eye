rule flow_control {
    version "1.0.0"

    param target: int = 2400 in 0..4000

    # A sensor on I2C, its curve in eight pieces; everything in sixteenths of a litre per hour.
    state filtered: int = 0
    state integral: int = 0

    on every 50ms

    let raw = i2c.read_word(0, 64, 2)
    let knots = [0, 420, 900, 1450, 2060, 2720, 3420, 4095]
    var flow = 0
    for i in 0..7 {
        if raw >= knots[i] {
            flow = i * 512 + (raw - knots[i]) * 512 / (knots[i + 1] - knots[i])
        }
    }
    filtered = filtered + (flow * 16 - filtered) / 8
    let wrong = target * 16 - filtered
    var sum = integral + wrong
    if sum > 4000000 {
        sum = 4000000
    } else if sum < -4000000 {
        sum = -4000000
    }
    integral = sum
    var valve = 2048 + wrong / 24 + sum / 4096
    if valve > 4095 {
        valve = 4095
    } else if valve < 0 {
        valve = 0
    }
    dac.write_channel(0, valve)
}
