"""What the buffer of a node holds, what was dropped, and how far each destination is: docs/reference/node-status.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eyeflow.node.broker.share import usage_of
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import Backend
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.status.handing_on import HandingOn, Pace
from eyeflow.node.store.cursors import COORDINATOR, KAFKA
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.types import Depth
from eyeflow.node.store.writer import Writer
from eyeflow.protocol.audit_bodies import LOSSES
from eyeflow.protocol.collecting import KeptHead


def running_buffer(
    config: NodeConfig,
    writer: Writer,
    *,
    ports: Mapping[str, PortStatus],
    handing_on: HandingOn,
    now_us: int,
    steady_us: int,
    broker_bytes: int,
) -> dict[str, object]:
    """Return the buffer of a node that runs.

    `ports` are what hands on, by destination; `broker_bytes` is what its own broker takes.
    """
    store = writer.store
    depth, kept = store.depth, store.cursors.all_kept
    names = _destinations(config, COORDINATOR in ports, kept)
    paces = {name: handing_on.pace(name, steady_us, depth.last_seq) for name in names}
    sizes = {"size_bytes": store.size_bytes, "size_bytes_max": store.size_bytes_max, "broker_bytes": broker_bytes}
    troubles = {name: port.detail for name, port in ports.items() if port.state != "up"}
    return _view(depth, kept, names, paces, troubles, now_us) | sizes | _bounds(config)


def stored_buffer(reader: AuditReader, config: NodeConfig | None, now_us: int) -> dict[str, object]:
    """Return the buffer of a node that does not run, from its files; its bounds where its configuration is known."""
    kept, data = reader.kept(), reader.path.parent / "kafka" / "data"
    sizes = {"size_bytes": reader.size_bytes, "broker_bytes": usage_of(data).size_bytes}
    view = _view(reader.depth(), kept, sorted(kept), {}, {}, now_us) | sizes
    return view if config is None else view | _bounds(config)


def _bounds(config: NodeConfig) -> dict[str, object]:
    limits = config.offline.limits
    broker_bytes_max = config.offline.broker_bytes_max
    return {
        "size_bytes_set": limits.size_bytes_max,
        "broker_bytes_max": broker_bytes_max,
        "age_us_max": limits.age_us_max,
    }


def _destinations(config: NodeConfig, is_linked: bool, kept: Iterable[str]) -> list[str]:
    """Return whom the audit goes to, also one that has told nothing yet."""
    wanted = set(kept)
    if is_linked and config.offline.reconcile_on_reconnect:
        wanted.add(COORDINATOR)
    if config.offline.backend is not Backend.SQLITE:
        wanted.add(KAFKA)
    return sorted(wanted)


def _view(
    depth: Depth,
    kept: Mapping[str, KeptHead],
    names: Iterable[str],
    paces: Mapping[str, Pace],
    troubles: Mapping[str, str],
    now_us: int,
) -> dict[str, object]:
    return {
        "records": depth.records,
        "used_bytes": depth.used_bytes,
        "first_seq": depth.first_seq,
        "last_seq": depth.last_seq,
        "oldest_us": depth.oldest_us,
        "oldest_age_us": max(0, now_us - depth.oldest_us) if depth.records else 0,
        "dropped": dict(sorted(depth.dropped.items())),
        "lost": sum(depth.dropped.get(reason, 0) for reason in LOSSES),
        "destinations": [
            _destination(name, kept.get(name), depth, paces.get(name)) | {"trouble": troubles.get(name, "")}
            for name in names
        ],
    }


def _destination(name: str, kept: KeptHead | None, depth: Depth, pace: Pace | None) -> dict[str, object]:
    seq = 0 if kept is None else kept.seq
    missed = max(0, depth.first_seq - 1 - seq)
    behind = depth.last_seq - seq - missed
    left_s = None if pace is None else pace.left_s(behind)
    return {
        "name": name,
        "seq": seq,
        "behind": behind,
        "missed": missed,
        "records_per_s": None if pace is None else round(pace.taken_per_s, 1),
        "left_s": None if left_s is None else round(left_s, 1),
    }
