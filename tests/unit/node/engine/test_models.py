"""Rules that ask language models run in threads of their own, and hold nobody up."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim
from eyeflow.node.run_key import active
from eyeflow.protocol.audit_bodies import (
    ExecutionBody,
    RejectedBody,
)
from unit.node.engine.rules import COUNTER, run

MODEL = """
rule triage {
    version "1.0.0"
    enum Urgency { LATER, NOW }
    record Reading { temp: float }
    on mqtt "t" as r: Reading
    let answer = llm.classify("it is {r.temp:0} degrees", Urgency, "how urgent?") timeout 5s else LATER
    if answer == NOW { log.info("now") } else { log.info("later") }
}
"""


async def executed(sim: NodeSim, count: int) -> None:
    """Wait until the rule that asks has run so often."""
    while True:
        await sim.turns()
        if sim.rule("triage")["executions"] == count:
            return
        await sim.node.engine._space.wait()
        sim.node.engine._space.clear()


def test_a_rule_that_asks_a_language_model_holds_nobody_up(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, MODEL, COUNTER)
        answered, asked = threading.Event(), threading.Event()

        def answer(args: object) -> str:
            asked.set()
            answered.wait()
            return "NOW"

        sim.drivers["llm"].values["llm.classify"] = answer
        await sim.send("t", temp=90.0)
        await sim.turns()
        asked.wait()
        for _ in range(5):
            await sim.send("t", temp=90.0)
        await sim.turns()
        assert sim.rule("counter")["executions"] == 6 and sim.rule("triage")["executions"] == 0
        assert sim.done == 0, "the events are not done before both rules have had them"
        answered.set()
        await executed(sim, 6)
        assert sim.done == 6
        triage = [body for body in sim.bodies(ExecutionBody) if body.rule == "triage"]
        assert all(body.answers[0][2] == 1 for body in triage), "the answer is recorded as the enum's ordinal"
        assert [args["message"] for _, _, args in sim.drivers["log"].acted].count("now") == 6
        await sim.stop()

    run(test())


def test_an_event_that_no_thread_could_be_started_for_is_rejected_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its rule counts as busy for ever: it runs nothing more, and nobody can replace or stop it."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, MODEL)
        sim.drivers["llm"].values["llm.classify"] = "NOW"

        async def none_left(job: object) -> object:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(sim.node.engine._options, "in_thread", none_left)
            await sim.send("t", temp=90.0)
            await sim.turns()
        (rejected,) = sim.bodies(RejectedBody)
        assert (rejected.reason, rejected.count, sim.done) == ("internal error: RuntimeError", 1, 1)
        await sim.send("t", temp=90.0)
        await executed(sim, 1)
        assert (await asyncio.wait_for(sim.install(MODEL.replace("1.0.0", "2.0.0"), 2), 60)).code == ""
        await sim.stop()

    run(test())


def test_what_goes_wrong_in_the_thread_of_a_rule_is_told_to_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queues and counts of the engine belong to the loop: changed from a thread, they end the loop while it reads."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, MODEL)
        rejecting, reject = list[threading.Thread](), sim.node.engine.core.intake.reject

        def noted(*args: Any) -> None:
            rejecting.append(threading.current_thread())
            reject(*args)

        def bug(*args: object) -> None:
            raise KeyError("a bug of the SVM")

        monkeypatch.setattr(sim.node.engine.core.intake, "reject", noted)
        monkeypatch.setattr(sim.node.engine.core.rules[active("triage")].instance, "step", bug)
        await sim.send("t", temp=90.0)
        await sim.turns()
        while sim.done == 0:
            await sim.node.engine._space.wait()
            sim.node.engine._space.clear()
            await sim.turns()
        assert rejecting == [threading.current_thread()]
        assert sim.bodies(RejectedBody)[0].reason == "internal error: KeyError"
        await sim.stop()

    run(test())
