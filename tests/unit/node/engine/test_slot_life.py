"""Any order of the verbs of slots, with crashes before and after each commit, against a model of a few lines."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from components.node_sim import NodeSim, SimClock, program
from eyeflow.node.control import InstallOutcome
from eyeflow.node.run_key import active, candidate, previous
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed, Standing
from eyeflow.svm.container import decode

CRASH = st.sampled_from(["", "", "before", "after"])


@cache
def version(number: int) -> bytes:
    return program(
        f'rule counter {{\n version "{number}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n n = n + {number}\n log.info("{number}")\n}}\n'
    )


@cache
def id_of(number: int) -> str:
    return decode(version(number)).program_id


class Died(BaseException):
    """The process is gone, in the middle of a verb."""


@dataclass(frozen=True)
class Program:
    """A program of the model: its number, which is also what it counts by, its memory, and whether it passed."""

    number: int
    n: int
    passed: bool = False


@dataclass
class Model:
    """What each slot holds. `failed` is the last one that was set aside."""

    active: Program | None = None
    candidate: Program | None = None
    previous: Program | None = None
    failed: Program | None = None
    deployments: set[int] = field(default_factory=set)

    def take_over(self, new: Program) -> None:
        if self.active is not None and self.active.passed:
            self.previous = self.active
        self.active = new


class SlotLife(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.path, self.clock = Path(tempfile.mkdtemp()), SimClock()
        self.loop = asyncio.new_event_loop()
        self.model, self.last, self.sent = Model(), 0, 0
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.sim.stop())
            self.loop.close()
            shutil.rmtree(self.path)

    def open(self) -> None:
        self.sim = self.loop.run_until_complete(NodeSim.started(self.path, clock=self.clock))
        self.loop.run_until_complete(self.sim.turns())  # what a crash left is performed, before anything new

    def reopen(self) -> None:
        self.sim.crash()
        self.open()

    def do(self, verb: Any, crash: str) -> Any:
        """Carry a verb out; with a crash, its result is None: the node was not there any more to give one."""
        store = self.sim.store

        def fatal(batch: Batch) -> Committed:
            changes = batch.put_slots or batch.drop_slots or batch.drop_rules
            if changes and crash == "before":
                raise Died
            committed = Store.commit(store, batch)
            if changes and crash == "after":
                raise Died
            return committed

        store.commit = fatal  # type: ignore[method-assign]
        try:
            return self.loop.run_until_complete(verb)
        except Died:
            self.reopen()
            return None
        finally:
            del store.commit  # type: ignore[method-assign]

    def change(self, verb: Any, crash: str, then: Model) -> None:
        result = self.do(verb, crash)
        if not crash:
            assert result is True or result.outcome is InstallOutcome.INSTALLED, result
        if crash != "before":
            self.model = then

    def next_version(self) -> tuple[int, bytes, dict[str, Any], str, int]:
        self.last += 1
        return self.last, version(self.last), {}, f"d{self.last}", self.last

    @rule(crash=CRASH)
    def install(self, crash: str) -> None:
        number, *wanted = self.next_version()
        then = replace(self.model)
        then.take_over(Program(number, then.active.n if then.active else 0))
        self.change(self.sim.node.install(*wanted), crash, then)  # type: ignore[arg-type]

    @rule(crash=CRASH)
    def stage(self, crash: str) -> None:
        number, *wanted = self.next_version()
        then = replace(self.model)
        then.candidate = Program(number, then.active.n if then.active else 0)
        self.change(self.sim.node.stage(*wanted), crash, then)  # type: ignore[arg-type]

    @precondition(lambda self: self.model.candidate)
    @rule(crash=CRASH)
    def promote(self, crash: str) -> None:
        then = replace(self.model, candidate=None)
        assert self.model.candidate is not None
        then.take_over(self.model.candidate)
        self.change(self.sim.promote("counter"), crash, then)

    @precondition(lambda self: self.model.candidate)
    @rule(crash=CRASH, failed=st.booleans())
    def drop(self, crash: str, failed: bool) -> None:
        then = replace(self.model, candidate=None)
        then.failed = self.model.candidate if failed else then.failed
        self.change(self.sim.node.drop_candidate("counter", "bad" if failed else ""), crash, then)

    @precondition(lambda self: self.model.active and self.model.previous)
    @rule(crash=CRASH)
    def roll_back(self, crash: str) -> None:
        then = replace(self.model, failed=self.model.active, active=self.model.previous, previous=None)
        self.change(self.sim.node.roll_back("counter", "bad"), crash, then)

    @precondition(lambda self: self.model.active and not self.model.active.passed)
    @rule(crash=CRASH)
    def record_pass(self, crash: str) -> None:
        assert self.model.active is not None
        then = replace(self.model, active=replace(self.model.active, passed=True))
        self.change(self.sim.node.record_pass("counter", id_of(self.model.active.number)), crash, then)

    @rule(crash=CRASH)
    def remove(self, crash: str) -> None:
        if self.model.active or self.model.candidate:
            self.change(self.sim.node.remove("counter"), crash, Model())

    @rule()
    def crash(self) -> None:
        self.reopen()

    @rule(count=st.integers(1, 3))
    def events(self, count: int) -> None:
        async def send() -> None:
            for _ in range(count):
                await self.sim.send("t", number=self.sent)
            await self.sim.turns()

        before = len(self.sim.drivers["log"].acted)
        self.loop.run_until_complete(send())
        said = [args["message"] for _, _, args in self.sim.drivers["log"].acted[before:]]
        acts = self.model.active
        fresh = [text for text in said if acts and text == str(acts.number)]
        assert len(fresh) >= count if acts else not said, "the active program acts on each event, and nobody else"
        for slot in ("active", "candidate"):
            runs = getattr(self.model, slot)
            if runs is not None:
                setattr(self.model, slot, replace(runs, n=runs.n + count * runs.number))

    @invariant()
    def what_is_durable_is_what_the_model_says(self) -> None:
        if not hasattr(self, "loop"):
            return
        restored, model = self.sim.store.restore(), self.model
        wanted = {active("counter"): model.active, candidate("counter"): model.candidate}
        wanted[previous("counter")] = model.previous
        held = {row.key: (row.program_id.hex(), row.standing is Standing.PASSED) for row in restored.slots}
        expected = {key: (id_of(one.number), one.passed) for key, one in wanted.items() if one is not None}
        assert held == expected
        assert {row.key: row for row in restored.slots} == {
            key: self.sim.node.installer.table.row(key) for key in expected
        }
        assert restored.states.keys() == expected.keys(), "each slot has its state, and no other one is left over"
        failed = restored.rejected.get("counter")
        assert (failed.row.program_id.hex() if failed else None) == (
            id_of(model.failed.number) if model.failed else None
        )
        running = self.sim.node.engine.core.rules
        assert running.keys() == {key for key in expected if key != previous("counter")}
        for key, one in running.items():
            known = wanted[key]
            assert known is not None and one.instance.state_values() == {"n": known.n}
            assert one.acts is (key == active("counter"))


SlotLife.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_order_of_verbs_and_crashes = SlotLife.TestCase
