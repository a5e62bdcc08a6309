"""What happens at one time happens in one order in `test`, in `run` and in a node."""

from __future__ import annotations

import asyncio
import io
import json
import random
from pathlib import Path

import pytest

from components.node_sim import START_US, NodeSim
from eyeflow.compiler import testplan
from eyeflow.compiler.compile import compile_rule
from eyeflow.compiler.testrun import run_test
from eyeflow.node.engine import core as core_module
from eyeflow.node.engine.running import QueuedEvent, RunningRule
from eyeflow.node.io.ports import IncomingEvent, Subscription
from eyeflow.node.replay.event_files import open_events
from eyeflow.node.replay.replay import Replay
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.svm.execution import Execution, Host
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.program import Value
from eyeflow.svm.verify import Verified, verify

HERE = Path(__file__).parent
S = 1_000_000
Seen = list[tuple[int, str]]
"""Time after the start in microseconds, and what the rule said."""


class Listening(Interpreter):
    """Notes what each execution said."""

    def __init__(self, verified: Verified) -> None:
        super().__init__(verified)
        self.seen: Seen = []

    def run(
        self,
        trigger: int,
        time_us: int,
        utc_offset_us: int,
        params: object,
        inputs: object,
        state: list[Value],
        host: Host,
    ) -> Execution:
        execution = super().run(trigger, time_us, utc_offset_us, params, inputs, state, host)  # type: ignore[arg-type]
        self.seen += [(time_us - START_US, str(action.args[0])) for action in execution.actions]
        return execution


def random_rule(rng: random.Random) -> str:
    """A rule whose handlers say in which order they run."""
    triggers = ['mqtt "a" as r: R', "every 1s", "every 2s", 'cron "* * * * * *"', 'cron "* * * * * */2"', "every 500ms"]
    chosen = [triggers[0], *rng.sample(triggers[1:], rng.randint(1, 4))]
    rng.shuffle(chosen)
    handlers = "".join(
        f'    on {trigger} {{\n        n = n + 1\n        log.info("{number}: {{n}}")\n    }}\n'
        for number, trigger in enumerate(chosen)
    )  # fmt: skip
    return f'rule r {{\n    version "1.0.0"\n    record R {{\n        v: float\n    }}\n    state n: int = 0\n{handlers}}}\n'


def compiled(source: str) -> Verified:
    result = compile_rule(source, name="r.eye")
    assert result.program is not None, result.diagnostics
    return verify(result.program)


def in_test(source: str, times_us: list[int]) -> Seen:
    verified = compiled(source)
    event = next(i for i, trigger in enumerate(verified.program.triggers) if trigger.binding)
    where, machine = testplan.Where(1, 1, "step"), Listening(verified)
    steps: list[testplan.Step] = [testplan.SetTime(where, START_US)]
    for time_us in times_us:
        steps += [testplan.Advance(where, time_us)] if time_us else []
        steps += [testplan.SendEvent(where, event, (1.0,))]
    outcome = run_test(testplan.TestPlan("t", 1, 1, tuple(steps)), verified, machine)
    assert outcome.passed, outcome
    return machine.seen


def in_run(source: str, times_us: list[int]) -> Seen:
    rows = "".join(json.dumps({"timestamp": START_US + time_us, "v": 1.0}) + "\n" for time_us in times_us)
    replay = Replay(compiled(source), open_events(None, io.BytesIO(rows.encode())))
    return [(record.time_us - START_US, str(record.arguments["message"])) for record in replay.run()]


def in_node(path: Path, source: str, times_us: list[int]) -> Seen:
    """The events of each time arrive at that time, before the engine has looked at its timers."""

    path.mkdir(exist_ok=True)

    async def play() -> Seen:
        sim = await NodeSim.started(path, source)
        for time_us in times_us:
            await sim.advance(max(0, START_US + time_us - 1 - sim.clock.now_us()))
            sim.clock.move(START_US + time_us)
            event = IncomingEvent(Subscription("mqtt", "a"), {"v": 1.0}, START_US + time_us, lambda: None)
            await sim.node.engine.deliver(event)
        await sim.turns()
        seen = [
            (body.event_time_us - START_US, str(args[0]))
            for body in sim.bodies(ExecutionBody)
            for _site, args, _disposition in body.actions
        ]
        await sim.stop()
        return seen

    return asyncio.run(play())


def random_times(rng: random.Random) -> list[int]:
    """The first is the start, which for a recording is its first row."""
    times_us = (0, S, S, 2 * S, 1_500_000, 2_700_000, 3 * S, 60 * S)
    return [0, *sorted(rng.choices(times_us, k=rng.randint(1, 8)))]


@pytest.mark.parametrize("seed", range(25))
def test_equal_times_have_one_order(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    source, times_us = random_rule(rng), random_times(rng)
    expected = in_test(source, times_us)
    assert len(expected) > len(times_us)
    assert in_run(source, times_us) == expected
    assert in_node(tmp_path, source, times_us) == expected


def test_control_a_timer_that_queues_last_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def last(rule: RunningRule, timer: QueuedEvent) -> None:
        rule.queue.append(timer)

    source = random_rule(random.Random(1))
    expected = in_test(source, [S, S, 2 * S])
    assert in_node(tmp_path / "right", source, [S, S, 2 * S]) == expected
    monkeypatch.setattr(core_module, "queue_timer", last)
    assert in_node(tmp_path / "wrong", source, [S, S, 2 * S]) != expected


def test_the_tests_of_a_rule_say_what_its_recording_gives() -> None:
    result = compile_rule((HERE / "equal_times.eye").read_text(encoding="utf-8"), name="equal_times.eye")
    assert result.program is not None
    verified = verify(result.program)
    assert [run_test(plan, verified).failures for plan in result.tests] == [()]
    recording = (HERE / "equal_times.csv").read_bytes()
    said = [record.arguments["message"] for record in Replay(verified, open_events(None, io.BytesIO(recording))).run()]
    assert said == ["after 1 ticks", "after 2 ticks", "after 3 ticks"]
