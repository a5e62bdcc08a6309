"""A program that somebody took for good, whose action ends its node: at each start the node would begin it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eyeflow.node.engine import pending
from eyeflow.node.engine.tries import ENDS_MAX
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from simulation.programs import BAD, RULES
from simulation.records import BrokenPromise, promise, read_chain
from simulation.story import NODES, Story


class Fatal(Story):
    """The first node runs, for good, a program whose messages end it, and has `count` events for it."""

    def __init__(self, directory: Path, count: int) -> None:
        super().__init__(3, directory)
        self.count = count

    async def _tell(self) -> None:
        await self._begin()
        await self._deploy(RULES[0], BAD["kills"], NODES[:1], True)
        node = self.cluster.nodes[NODES[0]]
        self._events_for(node, RULES[0], self.count, 1.0)
        self._events_for(node, RULES[1], 3, 1.0)
        await self._rest()
        await self._check_cluster()
        assert node.disk is not None
        chain = read_chain(node.disk.after_kill(), self.cluster.directory / "look")
        ended = [one.body for one in chain.records if isinstance(one.body, ActionResultBody)]
        given_up = [one for one in ended if one.result == ActionOutcome.INTERRUPTED and one.attempts]
        promise(len(given_up) == self.count, f"5: {self.count} actions end the node, given up: {given_up}")
        promise(all(one.attempts == ENDS_MAX for one in given_up), f"5: given up too early: {given_up}")
        await self._stop_all()

    def _how(self, nodes: tuple[str, ...], rollback: bool, strategy: str) -> dict[str, Any]:
        """Nobody watches it: it has passed when it runs."""
        return super()._how(nodes, rollback, strategy) | {"options": {}}


def test_a_node_comes_back_for_good_although_an_action_ends_it_at_each_start(tmp_path: Path) -> None:
    Fatal(tmp_path, 1).run()


def test_control_without_the_bound_it_never_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "ENDS_MAX", 10**6)
    with pytest.raises(BrokenPromise, match="17: a does not come back"):
        Fatal(tmp_path, 1).run()
