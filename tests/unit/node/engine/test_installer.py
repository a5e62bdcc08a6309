from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NODE_KEY, NodeSim, program
from eyeflow.node.control import InstallOutcome
from eyeflow.node.run_key import active, previous
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed
from eyeflow.node.store.writer import InlineWriter
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, InstallBody, RejectedBody, RemoveBody
from eyeflow.svm.signing import public_key_of


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def counter(version: str, step: int, *, state: str = "state n: int = 0", on: str = 'mqtt "t" as r: Reading') -> str:
    return (
        f'rule counter {{\n version "{version}"\n record Reading {{ temp: float }}\n param limit: float = 80.0 in 0.0..100.0\n'
        f' {state}\n on {on}\n n = n + {step}\n if r.temp > limit {{ log.info("{version} {{n}}") }}\n}}\n'
    )


def state_of(sim: NodeSim) -> dict[str, Any]:
    return sim.node.engine.core.rules[active("counter")].instance.state_values()


def test_a_new_version_swaps_in_between_two_events_and_adopts_the_state(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter("1.0.0", 1))
        assert await sim.node.record_pass("counter", str(sim.rule("counter")["program_id"]))
        for _ in range(3):
            await sim.send("t", temp=90.0)
        await sim.node.engine.turn()
        await sim.send("t", temp=90.0)
        result = await sim.install(counter("2.0.0", 100), 2)
        assert result.outcome is InstallOutcome.INSTALLED and result.previous_program_id
        await sim.turns()
        assert state_of(sim) == {"n": 103}, "the waiting event ran with the new program"
        assert sim.done == 4
        slots = {row.key: row for row in sim.store.restore().slots}
        assert slots[active("counter")].program_id.hex() == result.program_id
        assert slots[previous("counter")].program_id.hex() == result.previous_program_id
        first, second = sim.bodies(InstallBody)
        assert second.previous == first.program and (second.version, second.deployment) == ("2.0.0", "d2")
        shown = sim.rule("counter")
        assert (shown["version"], shown["previous_program_id"]) == ("2.0.0", result.previous_program_id)
        await sim.stop()

    run(test())


def test_events_that_wait_for_a_trigger_that_is_gone_are_rejected(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter("1.0.0", 1))
        await sim.send("t", temp=90.0)
        await sim.install(counter("2.0.0", 1, on='mqtt "u" as r: Reading'), 2)
        await sim.turns()
        (rejected,) = sim.bodies(RejectedBody)
        assert "replaced" in rejected.reason and sim.done == 1 and sim.bodies(ExecutionBody) == []
        await sim.stop()

    run(test())


def test_the_same_program_again_is_success_and_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter("1.0.0", 1))
        await sim.send("t", temp=90.0)
        await sim.turns()
        since_us = sim.rule("counter")["installed_us"]
        sim.clock.move(sim.clock.time_us + 1_000_000)
        result = await sim.install(counter("1.0.0", 1), 2)
        assert result.outcome is InstallOutcome.UNCHANGED
        assert sim.rule("counter")["installed_us"] == since_us and sim.rule("counter")["deployment"] == "d2"
        assert len(sim.bodies(InstallBody)) == 1 and state_of(sim) == {"n": 1}
        assert sim.rule("counter")["manifest_version"] == 2
        again = await sim.install(counter("1.0.0", 1), 3, limit=95.0)
        assert again.outcome is InstallOutcome.INSTALLED, "other parameters are another installation"
        await sim.send("t", temp=90.0)
        await sim.turns()
        assert len(sim.drivers["log"].acted) == 1 and state_of(sim) == {"n": 2}
        assert sim.rule("counter")["params"] == {"limit": 95.0}
        await sim.stop()

    run(test())


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda good: program(counter("1.0.0", 1), None), "untrusted", "not signed"),
        (lambda good: program(counter("1.0.0", 1), bytes(32)), "untrusted", "no such key is trusted"),
        (lambda good: good[: len(good) // 2], "malformed", ""),
        (lambda good: good + b"\0", "malformed", ""),
        (lambda good: b"", "malformed", ""),
        (lambda good: b"\x7fELF" + good[4:], "malformed", ""),
    ],
)
def test_a_program_that_is_not_what_it_should_be_is_refused(tmp_path: Path, make: Any, code: str, says: str) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        result = await sim.node.install(make(program(counter("1.0.0", 1))), {}, "d", 1)
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, code), result
        assert says in result.message and result.next_step
        assert sim.node.engine.core.rules == {} and sim.store.restore().slots == ()
        await sim.stop()

    run(test())


def test_flipped_bits_never_install(tmp_path: Path) -> None:
    async def test() -> None:
        rng = random.Random(7)
        good = program(counter("1.0.0", 1))
        sim = await NodeSim.started(tmp_path)
        for _ in range(150):
            bad = bytearray(good)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            result = await sim.node.install(bytes(bad), {}, "d", 1)
            assert result.outcome is InstallOutcome.REFUSED and result.code in ("untrusted", "malformed")
        assert sim.node.engine.core.rules == {}
        await sim.stop()

    run(test())


def test_missing_grants_and_drivers_are_named(tmp_path: Path) -> None:
    source = (
        'rule r {\n version "1.0.0"\n pin P: output\n on every 1s\n gpio.set_pin(P, HIGH)\n'
        ' mqtt.publish("a", "b")\n log.info("x")\n}\n'
    )

    async def test(grants: tuple[str, ...], drivers: tuple[str, ...], code: str, missing: tuple[str, ...]) -> None:
        path = tmp_path / (code or "fine")
        path.mkdir()
        sim = await NodeSim.started(path, grants=grants, drivers=drivers)
        result = await sim.install(source)
        assert (result.code, result.missing) == (code, missing)
        assert all(name in result.message for name in missing)
        await sim.stop()

    run(test(("log.*",), ("log", "gpio", "mqtt"), "not_granted", ("gpio.set_pin", "mqtt.publish")))
    run(test(("*",), ("log", "gpio"), "no_driver", ("mqtt.publish",)))
    run(test(("gpio.set_*", "mqtt.publish", "log.info"), ("log", "gpio", "mqtt"), "", ()))


@pytest.mark.parametrize("params", [{"limit": 500.0}, {"limit": "hot"}, {"limt": 1.0}, {"limit": "\ud800"}])
def test_wrong_parameters_are_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        result = await sim.install(counter("1.0.0", 1), 1, **params)
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "bad_params")
        await sim.stop()

    run(test())


def test_an_older_wanted_set_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.install(counter("2.0.0", 1), 5)
        result = await sim.install(counter("1.0.0", 1), 4)
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "rollback")
        assert (await sim.install(counter("1.0.0", 1), 6)).outcome is InstallOutcome.INSTALLED
        await sim.stop()

    run(test())


def test_one_wanted_set_may_name_an_older_program_beside_the_active_one(tmp_path: Path) -> None:
    """What stays warm after a switch: a node that lost its store in between gets both with one set."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.install(counter("2.0.0", 1), 5)
        assert (await sim.install(counter("1.0.0", 1), 5)).code == "rollback", "in its place it is a way back"
        assert (await sim.stage(counter("1.0.0", 1), 4)).code == "rollback"
        assert (await sim.stage(counter("1.0.0", 1), 5)).outcome is InstallOutcome.INSTALLED
        await sim.stop()

    run(test())


def test_a_removed_rule_is_gone_also_after_a_restart(tmp_path: Path) -> None:
    async def first() -> None:
        sim = await NodeSim.started(tmp_path, counter("1.0.0", 1))
        await sim.send("t", temp=1.0)
        assert await sim.node.remove("counter")
        assert not await sim.node.remove("counter")
        await sim.turns()
        assert sim.done == 1 and len(sim.bodies(RemoveBody)) == 1
        assert verify_chain(sim.store.audit_range(1, 1000), NODE_KEY.public_key).holds
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        assert sim.node.status()["rules"] == []
        await sim.stop()

    run(first())
    run(second())


def test_keys_of_the_cluster_are_kept_and_can_be_taken_away(tmp_path: Path) -> None:
    other = bytes(range(100, 132))
    foreign = program(counter("1.0.0", 1), other)

    async def first() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.node.trust([public_key_of(other)])
        assert (await sim.node.install(foreign, {}, "d", 1)).outcome is InstallOutcome.INSTALLED
        await sim.turns()
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        assert sim.rule("counter")["state"] == "running"
        sim.node.trust([])
        await sim.turns()
        sim.crash()

    async def third() -> None:
        sim = await NodeSim.started(tmp_path)
        shown = sim.rule("counter")
        assert shown["state"] == "refused" and "no such key is trusted" in str(shown["last_error"])
        assert sim.store.restore().slots, "it is kept, not run"
        await sim.stop()

    run(first())
    run(second())
    run(third())


def test_a_rule_that_may_run_again_has_not_forgotten(tmp_path: Path) -> None:
    """Its signer was distrusted for a while: the node was restarted meanwhile, and not again."""
    other = bytes(range(100, 132))
    foreign = program(counter("1.0.0", 1), other)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.node.trust([public_key_of(other)])
        await sim.node.install(foreign, {}, "d", 1)
        for _ in range(5):
            await sim.send("t", temp=1.0)
        await sim.turns()
        sim.node.trust([])
        await sim.stop()
        again = await NodeSim.started(tmp_path)
        assert again.rule("counter")["state"] == "refused"
        again.node.trust([public_key_of(other)])
        assert (await again.node.install(foreign, {}, "d", 2)).outcome is InstallOutcome.INSTALLED
        assert state_of(again) == {"n": 5}
        await again.stop()

    run(test())


def test_subscriptions_follow_what_runs_and_equal_ones_are_one(tmp_path: Path) -> None:
    def listener(name: str, topic: str) -> str:
        return (
            f'rule {name} {{\n version "1.0.0"\n record Reading {{ temp: float }}\n'
            f' on mqtt "{topic}" as r: Reading\n log.info("x")\n}}\n'
        )

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, listener("a", "t"), listener("b", "t"), listener("c", "u"))
        intake = sim.node.engine.core.intake
        assert {s.address for s in intake.subscriptions()["mqtt"]} == {"t", "u"}
        await sim.node.remove("c")
        assert {s.address for s in intake.subscriptions()["mqtt"]} == {"t"}
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sim.done == 1 and len(sim.bodies(ExecutionBody)) == 2
        await sim.stop()

    run(test())


class _SlowWriter(InlineWriter):
    """A writer whose commits are durable before anybody hears of it, as those of a thread are."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.durable, self.told = asyncio.Event(), asyncio.Event()

    async def commit(self, batch: Batch) -> Committed:
        committed = await super().commit(batch)
        self.durable.set()
        await self.told.wait()
        return committed


@pytest.mark.parametrize("change", ["install", "remove"])
def test_what_is_durable_runs_also_when_whoever_asked_is_cancelled_meanwhile(tmp_path: Path, change: str) -> None:
    """Or the old program would overwrite the state of the new one, which then starts from nothing."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter("1.0.0", 1))
        await sim.send("t", temp=1.0)
        await sim.turns()
        sim.node.engine.disk._writer = slow = _SlowWriter(sim.store)
        asked = asyncio.ensure_future(
            sim.install(counter("2.0.0", 100), 2) if change == "install" else sim.node.remove("counter")
        )
        await slow.durable.wait()
        asked.cancel()
        await asyncio.sleep(0)
        slow.told.set()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await sim.send("t", temp=1.0)
        await sim.turns()
        if change == "install":
            assert state_of(sim) == {"n": 101}
        else:
            assert active("counter") not in sim.node.engine.core.rules
        await sim.stop()
        again = await NodeSim.started(tmp_path)
        if change == "install":
            assert state_of(again) == {"n": 101}
        await again.stop()

    run(test())
