"""What runs in a node beside its sources and drivers, as `[offline] buffer_backend` asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from eyeflow.node.config.sections import Backend
from eyeflow.node.io.broken import Broken, set_up
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.runtime import NodeRuntime

if TYPE_CHECKING:
    from eyeflow.node.io.kafka.copying import CopyProcess

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """What runs beside sources and drivers, such as the node's own broker."""

    name: str
    status: PortStatus
    run: Run


def usual_services(node: NodeRuntime) -> list[Service]:
    """Return what the configuration asks for."""
    found: list[Service] = []
    if node.config.offline.backend is Backend.KAFKA_EMBEDDED:
        from eyeflow.node.broker.broker import EmbeddedBroker
        from eyeflow.node.broker.share import Share

        offline, directory = node.config.offline, node.config.data_dir / "kafka"
        share = Share(offline.broker_bytes_max, offline.limits.age_us_max / 3.6e9)
        broker = EmbeddedBroker(node.config.embedded, directory, share, node.machine.random)
        found.append(Service(broker.status.name, broker.status, broker.run))
    if node.config.offline.backend is not Backend.SQLITE:
        found.append(_copies(node))
    return found


def _copies(node: NodeRuntime) -> Service:
    """Return what copies the audit to Kafka; what stands for it where that cannot be set up."""

    def make() -> CopyProcess:
        from eyeflow.node.io.kafka.copying import CopyProcess, NodeAudit
        from eyeflow.node.io.kafka.library import security_of  # late: it imports the library

        config, name = node.config.ports.of(KafkaConfig), node.config.name
        audit = NodeAudit(node, node.identity.epoch)
        return CopyProcess(security_of(config, name), ", ".join(config.servers), name, audit, node.machine.random)

    copies = set_up("kafka_copies", make)
    if isinstance(copies, Broken):
        return Service("kafka_copies", copies.status, partial(copies.run, node.engine.deliver))
    return Service("kafka_copies", copies.status, copies.run)
