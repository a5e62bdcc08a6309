"""What deployments to some nodes must keep: a policy is TOML, and each `[[demand]]` of it names the nodes it is for.

Pure: whoever asks knows the nodes, the deployment and how many trusted keys signed its programs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from eyeflow.base.duration import format_duration, parse_duration
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, parse_toml
from eyeflow.base.record import dataclass
from eyeflow.rollout.deployment import OBSERVE_S_MAX
from eyeflow.rollout.strategies import STRATEGIES

TEXT_CHARS_MAX = 65_536
DEMANDS_MAX = 100
PATTERNS_MAX = 100
NAME_CHARS_MAX = 64
SIGNERS_MAX = 10
KEYS = ("name", "nodes", "labels", "strategies", "observe", "signers", "approval")
_HEADER = re.compile(r"\s*\[\[\s*demand\s*\]\]\s*(#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


@dataclass(frozen=True, slots=True)
class Subject:
    """One node with its labels."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Demand:
    """What deployments to the nodes that match one of `nodes`, and have all `labels`, must keep.

    `lines` are where its keys stand, from 1.

    `strategies` empty: any. `observe_s`: how long it is watched after each step, at least. `signers`: how many
    different trusted keys sign each program. `approval`: another person than who asks agrees first.
    """

    name: str
    line: int
    nodes: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()
    strategies: tuple[str, ...] = ()
    observe_s: int = 0
    signers: int = 0
    approval: bool = False
    lines: tuple[tuple[str, int], ...] = ()

    def is_for(self, node: Subject) -> bool:
        """Say whether it is for this node."""
        has_labels = all(node.labels.get(name) == value for name, value in self.labels)
        return has_labels and any(fnmatchcase(node.name, pattern) for pattern in self.nodes)

    def at(self, key: str) -> str:
        """Return where a key stands, for people."""
        return f"line {dict(self.lines).get(key, self.line)} of the policy (`{self.name}`)"


@dataclass(frozen=True, slots=True)
class Request:
    """What a deployment is asked to be. `signers` is how many trusted keys signed the program of each rule."""

    strategy: str
    observe_s: int
    signers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a line of a policy, from 1; 0: of the whole."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


class PolicyError(Exception):
    """A text that is no policy, with all its faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


def parse_policy(text: str) -> tuple[Demand, ...]:
    """Return the demands of a policy, none for an empty one. Raises PolicyError with the faults and their lines."""
    if len(text) > TEXT_CHARS_MAX:
        raise PolicyError([Fault(0, f"longer than {TEXT_CHARS_MAX} characters")])
    try:
        tables = parse_toml(text)
    except Unreadable as error:
        raise PolicyError([Fault(0, f"not TOML: {error}")]) from error
    faults = [Fault(0, f"`{name}` is not known here{_guess(name, ['demand'])}") for name in tables if name != "demand"]
    found: Any = tables.get("demand", [])
    places = _places(text)
    if not isinstance(found, list) or len(found) != len(places) or len(found) > DEMANDS_MAX:
        faults.append(Fault(0, f"each demand begins with a line `[[demand]]`, and there are at most {DEMANDS_MAX}"))
        raise PolicyError(faults)
    demands = [_demand(one, place, faults) for one, place in zip(found, places, strict=True)]
    if faults:
        raise PolicyError(sorted(faults, key=lambda fault: fault.line))
    return tuple(demands)


def _places(text: str) -> list[dict[str, int]]:
    """Return, for each demand, the line of each of its keys; that of its header stands under the empty key."""
    found: list[dict[str, int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if _HEADER.fullmatch(line):
            found.append({"": number})
        elif found and (key := _KEY.match(line)):
            found[-1].setdefault(key[1], number)
    return found


def _demand(table: Any, place: Mapping[str, int], faults: list[Fault]) -> Demand:
    def fault(key: str, text: str) -> None:
        faults.append(Fault(place.get(key, place[""]), text))

    for key in table:
        if key not in KEYS:
            fault(key, f"`{key}` is not known here{_guess(key, KEYS)}")
    name = table.get("name", "")
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_CHARS_MAX:
        fault("name", f"`name` must be a text of 1 to {NAME_CHARS_MAX} characters")
    if not table.keys() & {"nodes", "labels"}:
        fault("", "names no nodes: give `nodes` or `labels`")
    nodes = _texts(table, "nodes", fault) if "nodes" in table else ("*",)
    labels = _labels(table["labels"], fault) if "labels" in table else ()
    made = Demand(str(name), place[""], nodes, labels, lines=tuple(sorted(place.items())))
    if "strategies" in table:
        made = replace(made, strategies=_strategies(table, fault))
    if "observe" in table:
        made = replace(made, observe_s=_observe_s(table["observe"], fault))
    signers, approval = table.get("signers", 0), table.get("approval", False)
    if type(signers) is not int or not 0 <= signers <= SIGNERS_MAX:
        fault("signers", f"`signers` must be a number from 0 to {SIGNERS_MAX}")
        signers = 0
    if type(approval) is not bool:
        fault("approval", "`approval` must be true or false")
    made = replace(made, signers=signers, approval=approval is True)
    if not (made.strategies or made.observe_s or made.signers or made.approval or faults):
        fault("", f"demands nothing: give one of {', '.join(KEYS[3:])}")
    return made


def _texts(table: Mapping[str, Any], key: str, fault: Any) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not 1 <= len(value) <= PATTERNS_MAX or not all(type(one) is str for one in value):
        fault(key, f"`{key}` must be a list of 1 to {PATTERNS_MAX} texts")
        return ()
    return tuple(value)


def _labels(value: Any, fault: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not value or not all(isinstance(one, str) for one in value.values()):
        fault("labels", '`labels` must name labels with their values: { site = "lyon" }')
        return ()
    return tuple(sorted(value.items()))


def _strategies(table: Mapping[str, Any], fault: Any) -> tuple[str, ...]:
    found = _texts(table, "strategies", fault)
    for one in found:
        if one not in STRATEGIES:
            fault("strategies", f"`{one}` is no strategy{_guess(one, STRATEGIES)}")
    return found


def _observe_s(value: Any, fault: Any) -> int:
    try:
        seconds = parse_duration(value) // 1_000_000 if isinstance(value, str) else -1
    except Unreadable:
        seconds = -1
    if not 0 < seconds <= OBSERVE_S_MAX:
        fault("observe", '`observe` must be a duration from "1s" to "7d"')
        return 0
    return seconds


def _guess(name: str, known: Collection[str]) -> str:
    guess = near(name, known)
    return f"; did you mean `{guess}`?" if guess else ""


def breaches(demands: Sequence[Demand], nodes: Sequence[Subject], request: Request) -> list[str]:
    """Return how a deployment to these nodes breaks the demands, each with its line."""
    found = []
    for demand in demands:
        where = [node.name for node in nodes if demand.is_for(node)]
        if not where:
            continue
        told = f"{', '.join(where[:3])}{f' and {len(where) - 3} more' if len(where) > 3 else ''}"
        if demand.strategies and request.strategy not in demand.strategies:
            wanted = " or ".join(demand.strategies)
            found.append(f"{demand.at('strategies')} demands {wanted} for {told}, not {request.strategy}")
        if request.observe_s < demand.observe_s:
            wanted, given = (format_duration(time * 1_000_000) for time in (demand.observe_s, request.observe_s))
            found.append(f"{demand.at('observe')} demands to watch {told} for {wanted} after each step, not {given}")
        found += [
            f"{demand.at('signers')} demands {demand.signers} trusted signers for {told}; `{rule}` has {signers}"
            for rule, signers in sorted(request.signers.items())
            if signers < demand.signers
        ]
    return found


def approval_for(demands: Sequence[Demand], nodes: Sequence[Subject]) -> str:
    """Return why another person must agree to a deployment to these nodes, empty when nobody must."""
    asking = [one for one in demands if one.approval and any(one.is_for(node) for node in nodes)]
    return f"another person must approve it: {asking[0].at('approval')}" if asking else ""
