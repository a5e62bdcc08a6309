"""One deployment, and a crash at one of its steps: each write to a disk and each message that goes out is a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eyeflow.protocol.audit_bodies import SlotBody, SlotChange
from simulation.cluster import Host
from simulation.distinct import Footprint
from simulation.loop import pass_time
from simulation.programs import BAD, RULES, Built, programs, topic_of
from simulation.records import promise, read_chain
from simulation.story import NODES, Story

STRATEGIES = ("immediate", "rolling", "canary", "blue_green", "shadow")
VICTIMS = ("coordinator", NODES[0])
GOOD = "good"
EVENTS, EVENT_S = 60, 0.5
OVER_S_MAX, LOOK_S = 300.0, 1.0
DOWN_S = 3.0
AWAY_AFTER_S = 1.5
"""When `away` is cut off: it runs the candidate by then."""


class Rollout(Story):
    """Brings `candidate` to all nodes by `strategy`, and ends `victim` before its step number `step` since then.

    `candidate` is GOOD or the name of a program of BAD. `power_cut` is how the victim ends. Without one, `steps` counts
    those of each host; `ends` are those of the host `watched` that leave something new, each with how. `away` is a node that is
    cut off once it has the candidate. `is_idle`: no event comes. `run` raises BrokenPromise when an invariant does not hold.
    """

    def __init__(
        self,
        directory: Path,
        strategy: str,
        candidate: str = GOOD,
        victim: str = "",
        step: int = -1,
        power_cut: bool = False,
        away: str = "",
        is_idle: bool = False,
        watched: str = "",
    ) -> None:
        super().__init__(7, directory)
        self.strategy, self.candidate, self.victim, self.step = strategy, candidate, victim, step
        self.power_cut, self.away, self.is_idle, self.watched = power_cut, away, is_idle, watched
        self.steps: dict[str, int] = {}
        self.ends: list[tuple[int, bool]] = []
        self.states: list[str] = []
        self.reasons: list[str] = []
        self.crashed = self.went_back = False
        """Whether the victim died; whether the node that was away took the candidate back before it came back."""

    @property
    def told(self) -> str:
        """What is run, for people."""
        how = "without power" if self.power_cut else "killed"
        return f"{self.strategy} of {self.candidate}, {self.victim or 'nobody'} {how} at step {self.step}"

    def counts(self) -> Counter[str]:
        """Return how often things happened in this run."""
        counted = super().counts()
        counted["crashed"] += self.crashed
        counted["failed by evidence"] += any("failed" in one or "started again" in one for one in self.reasons)
        counted["taken back by a node"] += any("went back by itself" in one for one in self.reasons)
        return counted

    async def _tell(self) -> None:
        await self._set_up()
        before = {name: host.process.effects for name, host in self._hosts().items() if host.process is not None}
        if self.victim:
            host = self._hosts()[self.victim]
            host.crash(self.power_cut, DOWN_S, effects=self.step)
        footprint = self._footprint() if self.watched else None
        for number in range(0 if self.is_idle else EVENTS):
            self.cluster.later(number * EVENT_S, self._one_event)
        await self._deploy(RULES[0], self._number, NODES, True, self.strategy)
        if self.away:
            self.cluster.later(AWAY_AFTER_S, lambda: self.cluster.network.cut_off.add(self.away))
        await self._until_over()
        if self.away:
            self.went_back = self._goes_back(self.away)
        self.steps = {name: host.process.effects - before[name] for name, host in self._hosts().items() if host.process}
        if footprint is not None:
            self.ends = [one for one in footprint.ends if one[0] < self.steps[self.watched]]
        await self._rest()
        await self._check_cluster()
        self._check_outcome()
        await self._stop_all()

    def _footprint(self) -> Footprint:
        host = self._hosts()[self.watched]
        assert host.process is not None and host.disk is not None
        return Footprint(host.process, host.disk, self.cluster.directory / "left")

    def _programs(self) -> list[Built]:
        """Only what is deployed: all others would be a third of the time of a run."""
        mine = [one for one in programs() if one.rule == RULES[0]]
        others = [next(one for one in programs() if one.rule == rule) for rule in RULES[1:]]
        return [mine[0], mine[self._number], *others]

    @property
    def _number(self) -> int:
        """Which program of its rule the candidate is."""
        return 1 if self.candidate == GOOD else BAD[self.candidate]

    def _goes_back(self, name: str) -> bool:
        """Whether the audit of a node says that it took a program back."""
        disk = self.cluster.nodes[name].disk
        assert disk is not None
        chain = read_chain(disk.after_kill(), self.cluster.directory / "look")
        found = [record.body.change for record in chain.records if isinstance(record.body, SlotBody)]
        return SlotChange.ROLLED_BACK in found or SlotChange.DROPPED in found

    def _hosts(self) -> Mapping[str, Host]:
        return {"coordinator": self.cluster.coordinator, **self.cluster.nodes}

    def _one_event(self) -> None:
        for node in self.cluster.nodes.values():
            self.events += 1
            node.plant.happen(self.events, topic_of(RULES[0]))

    async def _until_over(self) -> None:
        until_s = self.cluster.loop.time() + OVER_S_MAX
        over = False
        while not over and self.cluster.loop.time() < until_s:
            await pass_time(LOOK_S)
            status, answer = await self.cluster.call("GET", "/api/deployments")
            over = status == 200 and all(one["over"] for one in answer["deployments"])

    def _how(self, nodes: tuple[str, ...], rollback: bool, strategy: str) -> dict[str, Any]:
        is_set_up = len(self.accepted_ids) >= len(RULES)
        # `immediate` passes at once, unless it is told to wait for evidence.
        watches = strategy != "immediate" or (is_set_up and (self.candidate != GOOD or self.is_idle))
        return super()._how(nodes, rollback, strategy) | {
            "options": {"observeS": 5, "samplesMin": 3, "steps": [50]} if watches else {}
        }

    async def _revoke_or_trust(self) -> None:
        """Keys stay as they are."""

    def _check_outcome(self) -> None:
        """A bad candidate never passes where a strategy looks at it; a good one does if nothing happens."""
        host = self._hosts()[self.victim] if self.victim else None
        self.crashed = host is not None and host.deaths > 0
        mine = self.ended[len(RULES) :]
        self.states, self.reasons = [one["state"] for one in mine], [one["reason"] for one in mine]
        for one in mine:
            self.reasons += [node.get("reason") or "" for node in one["nodes"]]
        if self.candidate != GOOD:
            promise("succeeded" not in self.states, f"a bad candidate passed: {self.told}: {self.reasons}")
        if not self.victim and not self.away:
            expected = "succeeded" if self.candidate == GOOD and not self.is_idle else "failed"
            promise(self.states == [expected], f"{self.told}: {self.states} {self.reasons}")
