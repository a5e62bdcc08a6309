rule example {
    on every 1s

    let a = abs(1) retry 2
    let b = adc.read(0) timeout 1s retry 2
    let c = adc.read(0) retry
    let d = adc.read(0) retry 2 backoff 1
    let e = adc.read(0) else
}
