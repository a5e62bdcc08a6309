rule interlock {
    version "1.0.0"

    pin   START: input
    pin   STOP: input
    pin   GUARD: input
    pin   MOTOR: output
    pin   FAULT: output
    param starts_max: int = 20 in 1..1000

    state running: bool = false
    state starts: int = 0

    on every 100ms

    let stopped = gpio.read_pin(STOP) == LOW
    let guard_open = gpio.read_pin(GUARD) == LOW
    let asked = gpio.read_pin(START) == HIGH
    if stopped or guard_open {
        running = false
    } else if asked and not running and starts < starts_max {
        running = true
        starts = starts + 1
    }
    gpio.set_pin(MOTOR, if running then HIGH else LOW)
    gpio.set_pin(FAULT, if guard_open and not stopped then HIGH else LOW)
}
