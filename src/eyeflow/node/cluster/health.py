"""A node's status in the words of the link protocol: what it runs, how it does, where its audit stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from eyeflow.node.control import HeldProgram, Switch
from eyeflow.node.store.types import Standing, Terms, Wish
from eyeflow.protocol.messages import (
    HEALTH_NAME_CHARS_MAX,
    Health,
    HealthKind,
    HealthState,
    InstalledRule,
    ManifestEntry,
)
from eyeflow.protocol.outputs import Apply
from eyeflow.protocol.replays import Replay, Replayed, ReplayResult
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import COUNTERS_MAX, PROGRAM_ID, REASON_CHARS_MAX, SHORT_CHARS_MAX, cut

NOT_COUNTERS = frozenset({"since_us", "installed_us", "counted_since_us", "manifest_version"})
_STATES = {"up": HealthState.RUNNING, "running": HealthState.RUNNING, "connecting": HealthState.CONNECTING}


def health_of(state: Mapping[str, object]) -> tuple[Health, ...]:
    """Return one record for each program that runs and each port of `NodeControl.status()`."""
    rules = [_health(HealthKind.RULE, one) for one in _items(state.get("rules"))]
    ports = [
        _health(HealthKind.PORT, one) for key in ("sources", "drivers", "services") for one in _items(state.get(key))
    ]
    store = _store_health(state.get("store"), state.get("buffer"))
    overload = state.get("overload")
    ports += [_health(HealthKind.PORT, {"name": "overload", **overload})] if isinstance(overload, Mapping) else []
    return tuple(rules + ports + store + _machine_health(state.get("machine")))


def _machine_health(use: object) -> list[Health]:
    return [_health(HealthKind.PORT, {"name": "machine", "counters": use})] if use else []


def _store_health(store: object, buffer: object) -> list[Health]:
    """Say how the store does, and for as long as its epoch lasts that the one before it is lost."""
    if not isinstance(store, Mapping):
        return []
    gone = f"the store of epoch {store['replaced_epoch']} is lost" if store.get("replaced_epoch") else ""
    detail = "; ".join(text for text in (str(store.get("problem") or ""), gone) if text)
    counters = {name: store.get(name, 0) for name in ("gaps", "dropped_records")} | _buffer_counters(buffer)
    state = {"name": "store", "state": store.get("state", "up"), "detail": detail, "counters": counters}
    return [_health(HealthKind.PORT, state)]


def _buffer_counters(buffer: object) -> dict[str, int]:
    """Return how much waits in the buffer, how old that is, what was dropped why, and how far each destination is."""
    if not isinstance(buffer, Mapping):
        return {}
    found = {f"buffer_{name}": buffer[name] for name in ("records", "size_bytes", "used_bytes")}
    found["buffer_oldest_s"] = buffer["oldest_age_us"] // 1_000_000
    found |= {f"dropped_{reason}": count for reason, count in buffer["dropped"].items()}
    return found | {f"behind_{one['name']}": one["behind"] for one in buffer["destinations"]}


def unwanted_of(held: Sequence[HeldProgram], entries: Iterable[ManifestEntry]) -> frozenset[str]:
    """Return the rules that go as a whole: wanted in no slot, or held as active and wanted as candidate alone."""
    wanted = {(entry.rule, entry.slot) for entry in entries}
    rules = {rule for rule, _ in wanted}
    return frozenset(
        one.rule
        for one in held
        if one.rule not in rules or (one.slot is Slot.ACTIVE and (one.rule, Slot.ACTIVE) not in wanted)
    )


def candidates_of(held: Sequence[HeldProgram], entries: Iterable[ManifestEntry]) -> list[str]:
    """Return the rules whose candidate is wanted no more."""
    wanted = {entry.rule for entry in entries if entry.slot is Slot.CANDIDATE}
    return sorted(one.rule for one in held if one.slot is Slot.CANDIDATE and one.rule not in wanted)


def switched(entries: Iterable[ManifestEntry], running: frozenset[InstalledRule]) -> list[Switch]:
    """Return the rules whose candidate is wanted as active program, with what is wanted of the active one beside it."""
    wanted = {(entry.rule, entry.slot): entry for entry in entries}
    found = []
    for (rule, slot), acts in wanted.items():
        what = (rule, acts.program_id, acts.params)
        if slot is not Slot.ACTIVE or InstalledRule(*what, Slot.ACTIVE) in running:
            continue
        if InstalledRule(*what, Slot.CANDIDATE) in running:
            beside = wanted.get((rule, Slot.CANDIDATE))
            stays = beside and InstalledRule(rule, beside.program_id, beside.params, Slot.ACTIVE) in running
            found.append(Switch(rule, _wish(acts), _wish(beside) if beside is not None and stays else None))
    return found


def _wish(entry: ManifestEntry) -> Wish:
    return Wish(entry.deployment_id, terms_of(entry))


def terms_of(entry: ManifestEntry) -> Terms:
    """Return on what terms a program is wanted."""
    standing = Standing.PASSED if entry.trial is None else Standing.ON_TRIAL
    return Terms(standing, entry.trial, entry.share, entry.keyless, entry.is_return)


def installed_of(held: Sequence[HeldProgram], manifest_version: int) -> frozenset[InstalledRule]:
    """Return the programs that run and may go on, with their parameters.

    Without those of another cluster (see `foreign_of`), and those that are stopped soon because their signer's key was
    revoked: another key may have signed the same program since, so it is fetched again.
    """
    foreign = foreign_of(held, manifest_version)
    good = (one for one in held if not one.refusal and one.rule not in foreign)
    return frozenset(InstalledRule(one.rule, one.program_id, one.params, one.slot) for one in good)


def lost_of(output: Apply, running: frozenset[InstalledRule]) -> frozenset[str]:
    """Return the wanted programs that ran when the manifest came, so that they were not fetched, and may not go on."""
    wanted = {
        one.program_id
        for one in output.manifest.entries
        if InstalledRule(one.rule, one.program_id, one.params, one.slot) not in running
    }
    return frozenset(wanted - output.programs.keys() - output.missing)


def foreign_of(held: Sequence[HeldProgram], manifest_version: int) -> frozenset[str]:
    """Return the rules that came with a higher manifest version than this cluster ever sent: another cluster's."""
    return frozenset(one.rule for one in held if one.manifest_version > manifest_version)


def stop_of(held: Sequence[HeldProgram], entry: ManifestEntry) -> str:
    """Return why the program that is wanted was stopped here, or will be; empty when it was not."""
    wanted = (entry.rule, entry.slot, entry.program_id)
    return next((one.refusal for one in held if (one.rule, one.slot, one.program_id) == wanted), "")


def refusal_of(held: Sequence[HeldProgram], rule: str, slot: Slot) -> str:
    """Return why a program does not run or will be stopped."""
    found = (one.refusal for one in held if (one.rule, one.slot) == (rule, slot))
    return next(found, "") or "it does not run any more"


def unanswerable(asked: Replay, why: str) -> Replayed:
    """Return the answer of a node that cannot answer: at once, instead of silence until the time is over."""
    refusal = cut(f"the node failed in it: {why}", REASON_CHARS_MAX)
    return Replayed(asked.number, tuple(ReplayResult(one.rule, one.program_id, refusal) for one in asked.programs))


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
        Slot(one.get("slot", Slot.ACTIVE.value)) if kind is HealthKind.RULE else None,
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
