"""Builds the node's sources and drivers from its configuration, and says at install what it cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.io.broken import over, set_up
from eyeflow.node.io.connector import Connector, PortsConfig, Problem, Site
from eyeflow.node.io.host.use import machine_use
from eyeflow.node.io.ports import Driver, Source, Subscription
from eyeflow.node.streams import Streams


@dataclass(frozen=True, slots=True)
class World:
    """Sources and drivers by name. Run every source in a task, after its first `update`; close every driver at the end.

    The MQTT source runs the connection that the MQTT driver publishes over too, so it runs even without a subscription.
    `use` says how busy the machine is, see `machine_use`; empty: nobody asks it. `streams` is how far sources have come
    that can read again what they have delivered.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    drivers: dict[str, Driver] = field(default_factory=dict)
    use: Callable[[], dict[str, int]] = dict
    streams: Streams = field(default_factory=Streams)

    def add(self, connector: Connector, site: Site) -> None:
        """Build what a connector has. What lacks a secret, TLS file or library is `Broken`; the others run."""
        name, shared = connector.name, set_up(connector.name, lambda: connector.share(site))
        if (source := connector.source) is not None:
            self.sources[name] = over(shared, name, lambda part: source(site, part))
        if (driver := connector.driver) is not None:
            self.drivers[name] = over(shared, name, lambda part: driver(site, part))


def build_world(config: PortsConfig, node_name: str, clock: NowUs = wall_clock_us) -> World:
    """Build all that the configuration can serve."""
    world = World(use=machine_use())
    site = Site(config, node_name, clock, world.streams)
    for connector in config.connectors:
        if not connector.needed(config):
            world.add(connector, site)
    return world


def check_subscription(subscription: Subscription, config: PortsConfig) -> None:
    """Raise EyeflowError (code `no_source`) when this node cannot serve a subscription."""
    if (problem := _problem(subscription, config)) is None:
        return
    cause, next_step = problem
    what = f"{subscription.source} {subscription.address!r}" if subscription.address else subscription.source
    raise EyeflowError(
        f"this node cannot serve the source {what}",
        cause=cause,
        next_step=next_step,
        code="no_source",
        exit_code=ExitCode.PROBLEMS,
    )


def _problem(subscription: Subscription, config: PortsConfig) -> Problem | None:
    connector = config.connector(subscription.source)
    if connector is None or connector.source is None:
        names = ", ".join(one.name for one in config.connectors if one.source is not None)
        return f"a node serves {names} and `event`", "Use one of these sources."
    if hint := connector.needed(config):
        return f"its configuration has no section for {connector.name}", hint
    if problem := connector.address_problem(subscription.address):
        return problem, "Correct the address in the rule."
    return connector.check(subscription.address, config)
