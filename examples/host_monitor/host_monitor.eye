# This computer watches itself: load, memory and temperature by the `host` source. `make demo` runs it.

rule host_monitor {
    version "1.0.0"
    priority background
    description "Logs a heartbeat of this machine and warns of load, memory and heat"

    record Host {
        cpu_percent: float
        memory_percent: float
        # Virtual machines have no thermometer: without one the rule sees 0 and never warns of heat.
        temperature_celsius: float = 0.0
    }

    param cpu_limit: float = 90.0 in 1.0..100.0
    param memory_limit: float = 90.0 in 1.0..100.0
    # Most processors slow themselves down from 95 °C.
    param heat_limit: float = 85.0 in 30.0..110.0
    param heartbeat: duration = 10s in 1s..1d

    state warnings: int = 0

    on host every 2s as host: Host

    let cpu = mean(host.cpu_percent, last 10s max 10)

    if true cooldown heartbeat {
        log.info("cpu {cpu:0} %, memory {host.memory_percent:0} %, {host.temperature_celsius:0} C")
    }
    # A compiler run is normal; half a minute of full load on a control node is not.
    if cpu > cpu_limit for 30s cooldown 5min {
        warnings = warnings + 1
        log.warn("cpu at {cpu:0} % for half a minute")
    }
    if host.memory_percent > memory_limit cooldown 5min {
        warnings = warnings + 1
        log.warn("memory at {host.memory_percent:0} %")
    }
    if host.temperature_celsius > heat_limit hysteresis 5.0 for 10s cooldown 5min {
        warnings = warnings + 1
        log.error("processor at {host.temperature_celsius:0} C")
    }

    test "a heartbeat each ten seconds" {
        send { cpu_percent: 10.0, memory_percent: 40.0 }
        expect log.info("cpu 10 %, memory 40 %, 0 C")
        after 2s send { cpu_percent: 20.0, memory_percent: 40.0 }
        expect no actions
        after 10s send { cpu_percent: 15.0, memory_percent: 41.0, temperature_celsius: 50.0 }
        expect log.info()
        expect warnings == 0
    }

    test "warns of load that lasts" {
        send { cpu_percent: 100.0, memory_percent: 40.0 }
        after 20s send { cpu_percent: 100.0, memory_percent: 40.0 }
        expect no log.warn()
        after 30s send { cpu_percent: 100.0, memory_percent: 40.0 }
        expect log.warn("cpu at 100 % for half a minute")
    }

    test "warns of memory once in five minutes" {
        send { cpu_percent: 1.0, memory_percent: 95.0 }
        expect log.warn("memory at 95 %")
        after 1min send { cpu_percent: 1.0, memory_percent: 96.0 }
        expect no log.warn()
        after 6min send { cpu_percent: 1.0, memory_percent: 96.0 }
        expect log.warn("memory at 96 %")
    }

    test "warns of heat" {
        send { cpu_percent: 1.0, memory_percent: 40.0, temperature_celsius: 90.0 }
        after 10s send { cpu_percent: 1.0, memory_percent: 40.0, temperature_celsius: 88.0 }
        expect log.error("processor at 88 C")
        expect warnings == 1
    }
}
