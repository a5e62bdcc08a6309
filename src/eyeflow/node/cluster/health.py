"""A node's status in the words of the link protocol: what it runs, how it does, where its audit stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from eyeflow.protocol.messages import (
    HEALTH_NAME_CHARS_MAX,
    Head,
    Health,
    HealthKind,
    HealthState,
    InstalledRule,
)
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import COUNTERS_MAX, HASH_BYTES, PROGRAM_ID, REASON_CHARS_MAX, SHORT_CHARS_MAX, cut

NOT_COUNTERS = frozenset({"installed_us", "counted_since_us", "manifest_version"})
_STATES = {"up": HealthState.RUNNING, "running": HealthState.RUNNING, "connecting": HealthState.CONNECTING}


def health_of(state: Mapping[str, object]) -> tuple[Health, ...]:
    """Return one record for each program that runs and each port of `NodeControl.status()`."""
    rules = [_health(HealthKind.RULE, one) for one in _items(state.get("rules"))]
    ports = [_health(HealthKind.PORT, one) for key in ("sources", "drivers", "ports") for one in _items(state.get(key))]
    return tuple(rules + ports + _store_health(state.get("store")))


def _store_health(store: object) -> list[Health]:
    """Say how the store does, and for as long as its epoch lasts that the one before it is lost."""
    if not isinstance(store, Mapping):
        return []
    lost = f"the store of epoch {store['replaced_epoch']} is lost" if store.get("replaced_epoch") else ""
    detail = "; ".join(text for text in (str(store.get("problem") or ""), lost) if text)
    return [_health(HealthKind.PORT, {"name": "store", "state": store.get("state", "up"), "detail": detail})]


def rules_of(state: Mapping[str, object]) -> frozenset[str]:
    """Return every rule that the node has, running or refused: all of them came from the cluster."""
    return frozenset(str(one["rule"]) for one in _items(state.get("rules")) if "rule" in one)


def installed_of(state: Mapping[str, object], manifest_version: int) -> frozenset[InstalledRule]:
    """Return the rules that run and may go on, with program and parameters.

    Without those of another cluster (see `foreign_of`), and those that are stopped soon because their signer's key was
    revoked: another key may have signed the same program since, so it is fetched again.
    """
    foreign = foreign_of(state, manifest_version)
    good = (one for one in _active(state) if one.get("state") == "running" and not one.get("stops_us"))
    running = (one for one in good if one.get("rule") not in foreign)
    return frozenset(
        InstalledRule(str(one["rule"]), str(one["program_id"]), tuple(sorted(one["params"].items()))) for one in running
    )


def foreign_of(state: Mapping[str, object], manifest_version: int) -> frozenset[str]:
    """Return the rules that came with a higher manifest version than this cluster ever sent: another cluster's."""
    rows = (one for one in _items(state.get("rules")) if "rule" in one)
    return frozenset(str(one["rule"]) for one in rows if int(one.get("manifest_version", 0)) > manifest_version)


def refusal_of(state: Mapping[str, object], rule: str) -> str:
    """Return why a rule does not run or will be stopped."""
    found = next((one for one in _active(state) if one.get("rule") == rule), {})
    if found.get("stops_us"):
        return "the key of its signer was revoked: it runs until the grace of this node is over"
    return str(found.get("last_error") or "it does not run any more")


def next_seq_of(state: Mapping[str, object]) -> int:
    """Return the next audit sequence number of a node's status, 0 when it has none yet."""
    audit = state.get("audit")
    value = audit.get("next_seq") if isinstance(audit, Mapping) else 0
    return value if type(value) is int and value >= 0 else 0


def head_of(state: Mapping[str, object], epoch: int, boot: bytes) -> Head:
    """Return where the audit chain of a node's status ends; `boot` is of this start of the node's process."""
    audit = state.get("audit")
    found = audit if isinstance(audit, Mapping) else {}
    return Head(boot, epoch, int(found.get("last_seq", 0)), bytes.fromhex(str(found.get("head", "00" * HASH_BYTES))))


def _active(state: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    """Return the active programs: a manifest of today wants no others."""
    return (one for one in _items(state.get("rules")) if _slot(one) is Slot.ACTIVE)


def _slot(one: Mapping[str, Any]) -> Slot:
    return Slot(one.get("slot", Slot.ACTIVE.value))


def _items(value: object) -> Iterator[Mapping[str, Any]]:
    """Accept a list of objects with a name, or a mapping from names to objects."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if isinstance(one, Mapping):
                yield {"name": name, **one}
    elif isinstance(value, list | tuple):
        yield from (one for one in value if isinstance(one, Mapping))


def _health(kind: HealthKind, one: Mapping[str, Any]) -> Health:
    program_id = str(one.get("program_id", ""))
    return Health(
        kind,
        cut(str(one.get("rule") or one.get("name") or ""), HEALTH_NAME_CHARS_MAX),
        _STATES.get(str(one.get("state", "running")), HealthState.FAILED),
        cut(str(one.get("detail") or one.get("last_error") or ""), REASON_CHARS_MAX),
        program_id if re.fullmatch(PROGRAM_ID, program_id) else "",
        tuple(sorted(_counters(one).items())),
        _slot(one) if kind is HealthKind.RULE else None,
    )


def _counters(one: Mapping[str, Any]) -> dict[str, int]:
    nested = one.get("counters")
    pairs = [*one.items(), *(nested.items() if isinstance(nested, Mapping) else ())]
    counted = {
        cut(str(name), SHORT_CHARS_MAX): value
        for name, value in pairs
        if type(value) is int and 0 <= value < 2**63 and name not in NOT_COUNTERS
    }
    return dict(sorted(counted.items())[:COUNTERS_MAX])
