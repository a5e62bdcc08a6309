"""Who acts on a key while a canary grows, a node restarts, and programs are swapped and taken back.

A real node with its store on disk runs both programs. Nothing here knows the hash: what the plant saw is checked.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

from bench.measure import Report, Row
from bench.plant import RULE, PlantNode, program
from eyeflow.node.control import InstallOutcome, InstallResult, Switch
from eyeflow.node.store.types import PASSED, Terms, Wish
from eyeflow.protocol.messages import InstalledRule
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode

EVENTS = 100_000
EVENTS_A_KEY = 5
POINT = 0.01
"""By how much a share may differ from its setting."""
OLD, NEW = 1, 2
TEN, HALF, WHOLE = Terms(share=1_000), Terms(share=5_000), Terms(share=10_000, keyless=True)

Change = Callable[["Canary"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Phase:
    """`change` begins it while events come; then `part` of all are sent. `keeps`: no key leaves the candidate."""

    name: str
    change: Change
    part: float
    share: float
    keeps: bool = True


@dataclass
class Seen:
    """What the plant saw of one phase: the versions that acted on each key, and on how many events."""

    phase: Phase
    versions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    events: int = 0
    by_candidate: int = 0

    @property
    def share(self) -> float:
        return self.by_candidate / self.events

    @property
    def by_both(self) -> int:
        """Keys that both versions acted on."""
        return sum(len(found) > 1 for found in self.versions.values())

    def keys_of(self, version: int) -> set[str]:
        return {key for key, found in self.versions.items() if version in found}


@dataclass
class Outcome:
    """`wrong` counts what must not happen, by name; all of it is 0 when the node keeps its word."""

    seen: list[Seen]
    wrong: dict[str, int]
    processor_s: float
    changes: int

    def off(self) -> float:
        """By how much a share differs from its setting, at most."""
        return max(abs(one.share - one.phase.share) for one in self.seen)


class Canary:
    """Drives one node through all phases."""

    def __init__(self, directory: Path, events: int, seed: int) -> None:
        self.plant, self.events = PlantNode(directory), events
        self.rng, self.number, self.version = Random(seed), 0, 1
        self.keys: dict[int, str] = {}
        self.changes: list[tuple[int, int]] = []
        """Of each phase: the first event that came during its change, and the first one behind it."""

    async def run(self, phases: tuple[Phase, ...]) -> Outcome:
        started_s = time.process_time()
        await self.plant.start()
        done(await self.plant.node.install(program(OLD), {}, "d1", 1, PASSED))
        for phase in phases:
            begins = self.number
            changing = asyncio.ensure_future(phase.change(self))
            while not changing.done():
                await self._send()
            await changing
            self.changes.append((begins + 1, self.number + 1))
            for _ in range(round(phase.part * self.events)):
                await self._send()
        await self.plant.broker.until_kept()
        await self.plant.stop()
        return judged(self, phases, time.process_time() - started_s)

    async def _send(self) -> None:
        self.number += 1
        key = f"unit-{self.rng.randrange(max(1, self.events // EVENTS_A_KEY))}"
        self.keys[self.number] = key
        await self.plant.broker.send(self.number, key)

    def next_version(self) -> tuple[str, int]:
        self.version += 1
        return f"d{self.version}", self.version


def judged(canary: Canary, phases: tuple[Phase, ...], processor_s: float) -> Outcome:
    """Compare what the plant saw with what a canary promises."""
    versions: dict[int, set[int]] = defaultdict(set)
    for acted in canary.plant.acted:
        versions[acted.number].add(acted.version)
    seen = [Seen(phase) for phase in phases]
    bounds = [behind for _, behind in canary.changes] + [canary.number + 1]
    for index, one in enumerate(seen):
        begins_next = canary.changes[index + 1][0] if index + 1 < len(seen) else canary.number + 1
        for number in range(bounds[index], begins_next):
            one.versions[canary.keys[number]] |= versions[number]
            one.events += 1
            one.by_candidate += versions[number] == {NEW}
    wrong = {
        "events acted on by both": sum(len(found) > 1 for found in versions.values()),
        "events acted on by none": canary.number - len(versions),
        "keys acted on by both in a phase": sum(one.by_both for one in seen),
        "keys that left the candidate at a greater share": sum(
            len(before.keys_of(NEW) & after.keys_of(OLD)) for before, after in pairwise(seen) if after.phase.keeps
        ),
        "keys that went to and fro during a change": _to_and_fro(canary, versions),
    }
    return Outcome(seen, wrong, processor_s, len(canary.changes))


def _to_and_fro(canary: Canary, versions: dict[int, set[int]]) -> int:
    """Count the keys that changed more than once while one change was made."""
    found = 0
    for begins, behind in canary.changes:
        orders: dict[str, list[int]] = defaultdict(list)
        for number in range(begins, behind):
            orders[canary.keys[number]] += sorted(versions[number])
        found += sum(sum(a != b for a, b in pairwise(order)) > 1 for order in orders.values())
    return found


def done(result: InstallResult) -> None:
    if result.outcome is InstallOutcome.REFUSED:
        raise RuntimeError(f"{result.code}: {result.message}")


def stage(terms: Terms) -> Change:
    async def change(canary: Canary) -> None:
        done(await canary.plant.node.stage(program(NEW), {}, *canary.next_version(), terms))

    return change


def step(terms: Terms) -> Change:
    async def change(canary: Canary) -> None:
        by = canary.next_version()
        wanted = InstalledRule(RULE, decode(program(NEW)).program_id, (), Slot.CANDIDATE)
        done(await canary.plant.node.record_wanted(wanted, *by, terms))

    return change


def swap(acts: str, terms: Terms) -> Change:
    """Let both change places; `terms` are those of the one that stands beside then."""

    async def change(canary: Canary) -> None:
        _, version = canary.next_version()
        beside = Wish("d1" if acts == "new" else f"d{version}", terms)
        switched = Switch(RULE, Wish(f"{acts}{version}"), beside)
        done((await canary.plant.node.switch([switched], version))[RULE])

    return change


async def crash(canary: Canary) -> None:
    """End without a word, and come back: what was not acknowledged comes again."""
    await canary.plant.crash()
    await canary.plant.start()


async def restart(canary: Canary) -> None:
    """Stop in good order, and come back."""
    await canary.plant.stop()
    await canary.plant.start()


async def drop(canary: Canary) -> None:
    await canary.plant.node.drop_candidate(RULE)


async def promote(canary: Canary) -> None:
    by, version = canary.next_version()
    done((await canary.plant.node.switch([Switch(RULE, Wish(by, PASSED))], version))[RULE])


PHASES = (
    Phase("10 %", stage(TEN), 0.2, 0.1),
    Phase("10 %, after a crash", crash, 0.2, 0.1),
    Phase("50 %", step(HALF), 0.16, 0.5),
    Phase("50 %, after a restart", restart, 0.16, 0.5),
    Phase("swapped: the candidate acts, the old one is warm", swap("new", Terms()), 0.04, 1.0),
    Phase("swapped back: 50 % again", swap("old", HALF), 0.06, 0.5, keeps=False),
    Phase("taken back", drop, 0.04, 0.0, keeps=False),
    Phase("10 % again", stage(TEN), 0.06, 0.1),
    Phase("100 %", step(WHOLE), 0.04, 1.0),
    Phase("promoted", promote, 0.04, 1.0),
)


async def measured(directory: Path, events: int = EVENTS, seed: int = 1) -> Outcome:
    """Run all phases with so many events."""
    return await Canary(directory, events, seed).run(PHASES)


def report() -> Report:
    """Run once; the table is of what the plant saw."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(measured(Path(folder)))
    rows = [
        Row(
            f"{one.phase.name}: by the candidate",
            100 * one.share,
            "%",
            f"{one.events:,} events, {len(one.versions):,} keys",
        )
        for one in outcome.seen
    ]
    rows += [Row(name, count, "") for name, count in outcome.wrong.items()]
    rows.append(Row("processor time of the node and its plant", outcome.processor_s, "s"))
    bars = (
        (f"each share within one point of its setting ({100 * outcome.off():.2f})", outcome.off() <= POINT),
        ("no key is acted on by both", not any(outcome.wrong.values())),
    )
    return Report(f"A canary over {EVENTS:,} keyed events", tuple(rows), bars)
