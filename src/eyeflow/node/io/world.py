"""Builds the node's sources and drivers from its configuration, and says at install what it cannot serve."""

from __future__ import annotations

from dataclasses import dataclass

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.node.config.ports import PortsConfig
from eyeflow.node.io.broken import over, set_up
from eyeflow.node.io.clock import Clock, system_clock
from eyeflow.node.io.gpio.source import EDGES, GpioSource, split_address
from eyeflow.node.io.ports import Driver, Source, Subscription
from eyeflow.node.io.registry import Shared, build_drivers
from eyeflow.svm.addresses import address_problem

SOURCES = ("mqtt", "http", "host", "gpio", "serial")
"""The kinds of source of this module; `event` and the timers are the engine's."""


@dataclass(frozen=True, slots=True)
class World:
    """Sources and drivers by name. Run every source in a task, after its first `update`; close every driver at the end.

    The MQTT source runs the connection that the MQTT driver publishes over too, so it runs even without a subscription.
    """

    sources: dict[str, Source]
    drivers: dict[str, Driver]


def build_world(config: PortsConfig, node_name: str, clock: Clock = system_clock) -> World:
    """Build what the configuration names. What lacks a secret, TLS file or library is `Broken`; the others run."""
    from eyeflow.node.io.host.source import HostSource
    from eyeflow.node.io.http.source import HttpSource
    from eyeflow.node.io.serial.source import SerialSource

    shared = Shared.open(config, node_name)
    sources: dict[str, Source] = {
        "http": set_up("http", lambda: HttpSource(config.http, clock)),
        "host": set_up("host", lambda: HostSource(shared.readings, clock)),
        "gpio": over(shared.gpio, "gpio", lambda gpio: GpioSource(gpio, config.gpio.poll_s, clock)),
        "serial": set_up("serial", lambda: SerialSource(config.serial, clock)),
    }
    if shared.mqtt is not None:
        from eyeflow.node.io.mqtt.source import MqttSource

        sources["mqtt"] = over(shared.mqtt, "mqtt", lambda both: MqttSource(both[0], clock, both[1]))
    return World(sources, build_drivers(config, shared))


def check_subscription(subscription: Subscription, config: PortsConfig) -> None:
    """Raise EyeflowError (code `no_source`) when this node cannot serve a subscription."""
    source, address = subscription.source, subscription.address
    match source:
        case "mqtt" if config.mqtt is None:
            _refuse(
                subscription, "this node has no MQTT broker", "Add `[mqtt]` with `host = ...` to its configuration."
            )
        case _ if problem := address_problem(source, address):
            _refuse(subscription, problem, "Correct the address in the rule.")
        case "serial" if address not in config.serial:
            guess = near(address, config.serial)
            hint = f"Did you mean `{guess}`?" if guess else f"Add `[serial.{address}]` with `device = ...`."
            _refuse(subscription, f"this node has no serial port named `{address}`", hint)
        case "gpio" if split_address(address)[1] not in EDGES:
            _refuse(subscription, f"an edge is one of {', '.join(EDGES)}", "Compile the rule again.")
        case "gpio" if config.gpio.backend == "libgpiod" and split_address(address)[0] not in config.gpio.pins:
            pin = split_address(address)[0]
            _refuse(subscription, f"pin {pin} is not wired", f"Add `{pin} = LINE` to [gpio.pins].")
        case _ if source not in SOURCES:
            _refuse(subscription, f"a node serves {', '.join(SOURCES)} and `event`", "Use one of these sources.")


def _refuse(subscription: Subscription, cause: str, next_step: str) -> None:
    what = f"{subscription.source} {subscription.address!r}" if subscription.address else subscription.source
    raise EyeflowError(
        f"this node cannot serve the source {what}",
        cause=cause,
        next_step=next_step,
        code="no_source",
        exit_code=ExitCode.PROBLEMS,
    )
