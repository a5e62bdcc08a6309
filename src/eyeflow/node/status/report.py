"""What `eyeflow status` shows of one node, as JSON-able data: docs/reference/node-status.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from eyeflow.base.duration import format_duration
from eyeflow.base.names import camel_case
from eyeflow.node.boards.boards import Boards
from eyeflow.node.clock import Clock
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.control import HeldProgram, Link, NodeIdentity
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.installer import Installer
from eyeflow.node.engine.revocation import Revocation
from eyeflow.node.engine.run_evidence import counts_of
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.io.world import World
from eyeflow.node.run_key import RunKey, previous
from eyeflow.node.status.buffer import running_buffer
from eyeflow.node.status.handing_on import HandingOn
from eyeflow.node.store.cursors import COORDINATOR, KAFKA
from eyeflow.node.store.types import RejectedRow
from eyeflow.node.store.writer import Writer
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.signer_list import RootTrust


class Reported(Protocol):
    """The parts of a node that its status tells of."""

    config: NodeConfig
    clock: Clock
    world: World
    services: dict[str, PortStatus]
    link: Link | None
    started_steady_us: int
    identity: NodeIdentity
    engine: Engine
    installer: Installer
    revocation: Revocation
    roots: RootTrust
    handing_on: HandingOn
    boards: Boards

    @property
    def writer(self) -> Writer:
        """What writes the store."""
        ...

    def held(self) -> tuple[HeldProgram, ...]:
        """Return every program that the node keeps to run it."""
        ...


GIVEN_NAMES = frozenset({"params", "counters", "traps", "rejected_reasons", "dropped"})
"""What stands in these goes by names that users, ports and programs give, and not by names of fields."""


def as_shown(status: Mapping[str, Any]) -> dict[str, object]:
    """Return a status as people and scripts get it: its fields are spelled as those of the REST API, `lastError`."""
    return {camel_case(name): _below(name, value) for name, value in status.items()}


def _below(name: str, value: Any) -> object:
    if name in GIVEN_NAMES:
        return value
    if name == "resources":
        return {resource: as_shown(one) for resource, one in value.items()}
    if isinstance(value, Mapping):
        return as_shown(value)
    return [_below("", one) for one in value] if isinstance(value, list | tuple) else value


def node_status(node: Reported) -> dict[str, object]:
    """Return everything there is to know about a running node, without a secret."""
    identity, now_us = node.identity, node.clock.now_us()
    return {
        "node": identity.name,
        "version": identity.version,
        "epoch": identity.epoch,
        "public_key": identity.public_key.hex(),
        "time_us": now_us,
        "uptime": format_duration((node.clock.steady_us() - node.started_steady_us) // 1_000_000 * 1_000_000),
        "coordinator": _coordinator(node),
        "trust": _trust(node),
        "rules": [_program(node, held) for held in node.held()],
        "taken_back": [_taken_back(failed) for failed in node.installer.table.taken_back],
        "sources": [_port(name, source.status) for name, source in sorted(node.world.sources.items())],
        "drivers": [_port(name, driver.status) for name, driver in sorted(node.world.drivers.items())],
        "services": [_port(name, status) for name, status in sorted(node.services.items())],
        "boards": node.boards.views(),
        "store": _store(node),
        "audit": _audit(node),
        "buffer": _buffer(node, now_us),
        "overload": node.engine.core.intake.shedding.as_dict(now_us),
        "machine": node.world.use(),
        "resources": node.engine.arbiter.as_dict(),
        "actions_waiting": node.engine.actions.waiting,
    }


def _coordinator(node: Reported) -> dict[str, object]:
    if node.link is None:
        return {"url": "", "state": "none", "detail": ""}
    return {"url": node.link.url, "state": node.link.status.state, "detail": node.link.status.detail}


def _trust(node: Reported) -> dict[str, object]:
    trust, newest = node.installer.trust, node.roots.newest
    return {
        "signers": len(trust.keys),
        "signers_min": trust.least,
        "thresholds": len(trust.thresholds),
        "roots": len(node.roots.roots),
        "list_version": newest.version if newest is not None else 0,
        "list_expires_us": newest.expires_us if newest is not None else 0,
        "problem": node.roots.refusal(node.clock.now_us()),
    }


def _program(node: Reported, held: HeldProgram) -> dict[str, object]:
    rule = node.engine.core.rules.get(RunKey(held.rule, held.slot))
    what: dict[str, object] = {"rule": held.rule, "slot": held.slot.value, "program_id": held.program_id}
    if rule is None:
        return what | {"state": "refused", "manifest_version": held.manifest_version, "last_error": held.refusal}
    more = {"state": "running", "manifest_version": held.manifest_version, "params": dict(held.params)}
    return what | more | _running(node, rule)


def _running(node: Reported, rule: RunningRule) -> dict[str, object]:
    row, program = rule.row, rule.program
    kept, failed = node.installer.table.row(previous(rule.name)), node.installer.table.rejected(rule.name)
    return {
        "actuation": row.actuation.value,
        "share": row.share,
        "keyless": row.keyless,
        "standing": row.standing.value,
        "version": program.version,
        "priority": program.priority.name.lower(),
        "previous_program_id": kept.program_id.hex() if kept else "",
        "deployment": row.deployment,
        "failed_program": _failed_program(failed),
        "installed_us": row.installed_us,
        "counted_since_us": rule.started_us,
        "waiting": len(rule.queue),
        "stalled": rule.stalled,
        "holds_back": rule.holds_back,
        "stops_us": node.revocation.until_us.get(rule.key, 0),
        "trial": _trial(row.trial),
        "evidence": counts_of(rule.evidence.row(row)) | {"pending": rule.evidence.pending},
        **rule.health.as_dict(),
    }


def _taken_back(failed: RejectedRow) -> dict[str, object]:
    return {"rule": failed.row.key.rule} | (_failed_program(failed) or {})


def _failed_program(failed: RejectedRow | None) -> dict[str, object] | None:
    """Return the last program of a rule that failed, for the post-mortem."""
    if failed is None:
        return None
    row = failed.row
    return {
        "program_id": row.program_id.hex(),
        "slot": row.key.slot.value,
        "deployment": row.deployment,
        "reason": failed.reason,
        "rejected_us": failed.rejected_us,
        "taken_back": failed.taken_back,
        "evidence": None if failed.evidence is None else counts_of(failed.evidence),
    }


def _trial(trial: Trial | None) -> dict[str, object] | None:
    """Return how the node judges a program by itself."""
    if trial is None:
        return None
    return {
        "observe_s": trial.observe_s,
        "samples_min": trial.samples_min,
        "failures_max": trial.failures_max,
        "starts_max": trial.starts_max,
        "rollback": trial.rollback,
        "judges": trial.judges,
    }


def _port(name: str, status: PortStatus) -> dict[str, object]:
    return {"name": name, "state": status.state, "detail": status.detail, "counters": dict(status.counters)}


def _store(node: Reported) -> dict[str, object]:
    store, limits = node.writer.store, node.config.offline.limits
    counters = store.counters
    return {
        **node.engine.disk.as_dict(),
        "size_bytes": store.size_bytes,
        "size_bytes_max": store.size_bytes_max,
        "size_bytes_set": limits.size_bytes_max,
        "altered_seq": store.altered_seq,
        "replaced_epoch": store.replaced_epoch,
        "commits": counters.commits,
        "records": counters.records,
        "dropped_records": counters.dropped_records,
        "gaps": counters.gaps,
        "dropped_copies": counters.dropped_copies,
        "failed_commits": counters.failed_commits,
    }


def _buffer(node: Reported, now_us: int) -> dict[str, object]:
    broker = node.services.get("kafka_embedded")
    ports = {} if node.link is None else {COORDINATOR: node.link.status}
    if "kafka_copies" in node.services:
        ports[KAFKA] = node.services["kafka_copies"]
    return running_buffer(
        node.config,
        node.writer,
        ports=ports,
        handing_on=node.handing_on,
        now_us=now_us,
        steady_us=node.clock.steady_us(),
        broker_bytes=0 if broker is None else broker.counters.get("size_bytes", 0),
    )


def _audit(node: Reported) -> dict[str, object]:
    seq, head = node.writer.store.head
    return {"epoch": node.identity.epoch, "next_seq": seq + 1, "last_seq": seq, "head": head.hex()}
