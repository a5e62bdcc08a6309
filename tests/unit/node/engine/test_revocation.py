"""What becomes of a running program when nobody trusts its signer any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import SIGNER, NodeSim, program
from eyeflow.node.cluster.health import installed_of, refusal_of
from eyeflow.node.control import InstallOutcome
from eyeflow.node.engine.revocation import Revocation
from eyeflow.node.engine.trust import Trust
from eyeflow.node.run_key import active
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody, ExecutionBody, WithdrawBody
from eyeflow.protocol.slot import Slot
from eyeflow.svm.signing import fingerprint, public_key_of, sign_program

OTHER = bytes(range(100, 132))
SECOND = 1_000_000


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def counter(name: str) -> str:
    return (
        f'rule {name} {{\n version "1.0.0"\n record Reading {{ temp: float }}\n state n: int = 0\n'
        f' on mqtt "t" as r: Reading\n n = n + 1\n log.info("{name} {{n}}")\n}}\n'
    )


async def started(path: Path) -> NodeSim:
    """A node that runs `ours`, signed by a key of its configuration, and `theirs`, signed by one of the cluster."""
    sim = await NodeSim.started(path, counter("ours"))
    sim.node.trust([public_key_of(OTHER)])
    result = await sim.node.install(program(counter("theirs"), OTHER), {}, "d", 1)
    assert result.outcome is InstallOutcome.INSTALLED
    await sim.send("t", temp=1.0)
    await sim.turns()
    return sim


def executed(sim: NodeSim) -> list[str]:
    return [body.rule for body in sim.bodies(ExecutionBody)]


def test_it_is_stopped_at_once_and_said_and_recorded(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path)
        installed_us = sim.clock.now_us()
        await sim.advance(5 * SECOND)
        sim.node.trust([])
        await sim.node.stop_distrusted()
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sorted(executed(sim)) == ["ours", "ours", "theirs"]
        shown = sim.rule("theirs")
        assert shown["state"] == "refused"
        said = str(shown["last_error"])
        assert f"its signer's key {fingerprint(public_key_of(OTHER))} was revoked" in said
        assert "was stopped 2023-11-14 22:13:25 UTC" in said and "had run since 2023-11-14 22:13:20 UTC" in said
        (record,) = sim.bodies(WithdrawBody)
        assert (record.rule, record.signers, record.since_us) == ("theirs", (public_key_of(OTHER),), installed_us)
        assert sim.rule("ours")["state"] == "running", "the rules of others go on"
        await sim.stop()
        records = [decode_record(data) for data in sim.store_bytes]
        assert any(isinstance(one.body, WithdrawBody) for one in records)
        assert verify_chain(sim.store_bytes).holds

    run(test())


def test_control_without_the_stop_it_runs_on(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path)
        sim.node.trust([])
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sorted(executed(sim)) == ["ours", "ours", "theirs", "theirs"]
        await sim.stop()

    run(test())


class Died(BaseException):
    """The process is gone, right after a commit."""


def die_after(sim: NodeSim, commits: int) -> None:
    """End the process after so many commits from now."""
    left = [commits]

    def fatal(batch: Batch) -> Committed:
        committed = Store.commit(sim.store, batch)
        left[0] -= 1
        if not left[0]:
            raise Died
        return committed

    sim.store.commit = fatal  # type: ignore[method-assign]


@pytest.mark.parametrize("grace_s", [0.0, 60.0])
def test_what_was_revoked_does_not_run_after_a_crash_at_any_commit(tmp_path: Path, grace_s: float) -> None:
    """The keys that are trusted are durable with the first thing that follows from them, and before the answer."""

    async def test() -> None:
        sim = await started(tmp_path)
        await sim.advance(SECOND)
        sim.node.revocation = Revocation(sim.node.installer, sim.clock, grace_s)
        die_after(sim, 1)
        sim.node.trust([])
        with pytest.raises(Died):
            await sim.node.stop_distrusted()
        sim.crash()
        again = await NodeSim.started(tmp_path)
        assert again.rule("theirs")["state"] == "refused" and again.rule("ours")["state"] == "running"
        await again.stop()

    run(test())


def test_what_a_newly_trusted_key_signed_runs_after_a_crash_at_its_commit(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, counter("ours"))
        await sim.advance(SECOND)
        die_after(sim, 1)
        sim.node.trust([public_key_of(OTHER)])
        with pytest.raises(Died):
            await sim.node.install(program(counter("theirs"), OTHER), {}, "d", 1)
        sim.crash()
        again = await NodeSim.started(tmp_path)
        assert again.rule("theirs")["state"] == "running"
        await again.stop()

    run(test())


def test_after_another_signature_it_goes_on_with_its_state(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path)
        sim.node.trust([])
        await sim.node.stop_distrusted()
        data = program(counter("theirs"), OTHER)
        assert (await sim.node.install(data, {}, "d", 2)).code == "untrusted"
        assert (await sim.node.install(sign_program(data, SIGNER), {}, "d", 2)).outcome is InstallOutcome.INSTALLED
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sim.node.engine.core.rules[active("theirs")].instance.state_values() == {"n": 2}
        assert sim.rule("theirs")["last_error"] in ("", None)
        sim.node.trust([])
        await sim.node.stop_distrusted()
        assert sim.rule("theirs")["state"] == "running", "one trusted signature is enough"
        await sim.stop()

    run(test())


def test_the_grace_lets_it_run_until_its_end_and_is_shown(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path)
        sim.node.revocation = revocation = Revocation(sim.node.installer, sim.clock, 60.0)
        watching = asyncio.ensure_future(revocation.run())
        sim.node.trust([])
        await sim.advance(59 * SECOND)
        assert sim.rule("theirs")["state"] == "running"
        assert sim.rule("theirs")["stops_us"] == sim.clock.now_us() + SECOND
        assert sim.rule("ours")["stops_us"] == 0
        sim.clock.set_us = 86_400 * SECOND  # somebody sets the clock: the grace is not over for that
        await sim.turns()
        assert sim.rule("theirs")["state"] == "running"
        await sim.advance(2 * SECOND)
        assert sim.rule("theirs")["state"] == "refused"
        assert len(sim.bodies(WithdrawBody)) == 1
        watching.cancel()
        await sim.stop()

    run(test())


def test_another_signature_within_the_grace_ends_it(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path)
        sim.node.revocation = Revocation(sim.node.installer, sim.clock, 60.0)
        sim.node.trust([])
        await sim.node.stop_distrusted()
        assert [one.rule for one in installed_of(sim.node.held(), 1)] == ["ours"], "the other one is fetched again"
        assert "runs until the grace of this node is over" in refusal_of(sim.node.held(), "theirs", Slot.ACTIVE)
        data = sign_program(program(counter("theirs"), OTHER), SIGNER)
        assert (await sim.node.install(data, {}, "d", 2)).outcome is InstallOutcome.UNCHANGED
        assert sim.rule("theirs")["stops_us"] == 0
        await sim.advance(100 * SECOND)
        await sim.node.stop_distrusted()
        assert sim.rule("theirs")["state"] == "running"
        await sim.stop()
        again = await NodeSim.started(tmp_path)
        assert again.rule("theirs")["state"] == "running", "the new signature is what was stored"
        await again.stop()

    run(test())


def test_whoever_is_trusted_again_within_the_grace_is_not_stopped(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path)
        sim.node.revocation = revocation = Revocation(sim.node.installer, sim.clock, 60.0)
        watching = asyncio.ensure_future(revocation.run())
        for trusted in ([], [public_key_of(OTHER)], []):
            sim.node.trust(trusted)
            await sim.advance(40 * SECOND)
            assert sim.rule("theirs")["state"] == "running", "each revocation has a grace of its own"
        await sim.advance(30 * SECOND)
        assert sim.rule("theirs")["state"] == "refused"
        watching.cancel()
        await sim.stop()

    run(test())


def test_a_key_that_is_revoked_while_its_program_is_proven_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.node.trust([public_key_of(OTHER)])
        load = type(sim.node.installer._policy).load

        def slow(self: Any, data: bytes, trust: Any) -> Any:
            loaded = load(self, data, trust)
            sim.node.installer.trust = Trust()
            return loaded

        monkeypatch.setattr(type(sim.node.installer._policy), "load", slow)
        assert (await sim.node.install(program(counter("theirs"), OTHER), {}, "d", 1)).code == "untrusted"
        assert sim.node.status()["rules"] == []
        await sim.stop()

    run(test())


def test_nothing_waits_for_a_rule_that_was_stopped(tmp_path: Path) -> None:
    """Its queue is told, and the source hears that the event is done."""

    async def test() -> None:
        sim = await started(tmp_path)
        await sim.send("t", temp=1.0)
        before = sim.done
        sim.node.trust([])
        await sim.node.stop_distrusted()
        await sim.turns()
        assert sim.done == before + 1
        await sim.stop()

    run(test())


# --- what a program of theirs still has to send after one of ours replaced it -----------------------------------------


def sender(version: int, action: str = 'mqtt.publish("a", "{r.temp:0}")') -> str:
    return (
        f'rule told {{\n version "{version}.0.0"\n record Reading {{ temp: float }}\n'
        f' on mqtt "t" as r: Reading\n {action}\n}}\n'
    )


async def replaced(sim: NodeSim, action: str = 'mqtt.publish("a", "{r.temp:0}")') -> None:
    """Let their program decide 1, 2 and 3, which the broker does not confirm; then let ours replace it and decide 4."""
    sim.node.trust([public_key_of(OTHER)])
    assert (await sim.node.install(program(sender(1, action), OTHER), {}, "d", 1)).code == ""
    for number in (1.0, 2.0, 3.0):
        await sim.send("t", temp=number)
    await sim.turns()
    assert (await sim.node.install(program(sender(2)), {}, "d", 2)).code == ""
    await sim.send("t", temp=4.0)
    await sim.turns()


def sent(sim: NodeSim) -> list[object]:
    return [args["payload"] for _, _, args in sim.drivers["mqtt"].acted]


def withheld(sim: NodeSim) -> list[tuple[ActionOutcome, str]]:
    return [(ActionOutcome(body.result), body.error) for body in sim.bodies(ActionResultBody)]


@pytest.mark.parametrize("grace_s", [0.0, 3600.0])
@pytest.mark.parametrize("pipelines", [False, True], ids=["one by one", "under way"])
@pytest.mark.parametrize("revoked", [True, False], ids=["revoked", "trusted"])
def test_what_a_replaced_program_has_to_send_is_withheld_when_its_signer_is_revoked(
    tmp_path: Path, revoked: bool, pipelines: bool, grace_s: float
) -> None:
    """A grace is for what runs. The case `trusted` is the control: then all is sent."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.node.revocation = Revocation(sim.node.installer, sim.clock, grace_s)
        sim.drivers["mqtt"].duration_s["mqtt.publish"], sim.drivers["mqtt"].pipelines = 1.0, pipelines
        await replaced(sim)
        if revoked:
            sim.node.trust([])
        await sim.node.stop_distrusted()
        await sim.advance(10 * SECOND)
        assert sent(sim) == (["4"] if revoked else ["1", "2", "3", "4"])
        reason = "too few trusted keys have signed its program"
        begun = 3 if pipelines else 1
        outcomes = [ActionOutcome.INTERRUPTED] * begun + [ActionOutcome.CANCELLED] * (3 - begun)
        assert withheld(sim) == [(outcome, reason) for outcome in outcomes if revoked]
        assert sim.store.restore().pending == () and sim.node.engine.actions.waiting == 0
        await sim.send("t", temp=5.0)
        await sim.advance(5 * SECOND)
        assert sent(sim)[-1] == "5", "the lane goes on"
        await sim.stop()

    run(test())


@pytest.mark.parametrize("pipelines", [False, True], ids=["one by one", "under way"])
def test_what_an_older_program_has_to_send_is_sent_when_only_the_newer_one_is_revoked(
    tmp_path: Path, pipelines: bool
) -> None:
    """Ours decides 1, 2 and 3, theirs replaces it and decides 4: of what we signed nothing is given up."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].duration_s["mqtt.publish"], sim.drivers["mqtt"].pipelines = 1.0, pipelines
        sim.node.trust([public_key_of(OTHER)])
        for version, key, numbers in ((1, SIGNER, (1.0, 2.0, 3.0)), (2, OTHER, (4.0,))):
            assert (await sim.node.install(program(sender(version), key), {}, "d", version)).code == ""
            for number in numbers:
                await sim.send("t", temp=number)
            await sim.turns()
        sim.node.trust([])
        await sim.node.stop_distrusted()
        await sim.advance(10 * SECOND)
        assert sent(sim) == ["1", "2", "3"]
        begun = ActionOutcome.INTERRUPTED if pipelines else ActionOutcome.CANCELLED
        assert withheld(sim) == [(begun, "its program was stopped")]
        assert sim.store.restore().pending == () and sim.node.engine.actions.waiting == 0
        assert (await sim.node.install(program(sender(3)), {}, "d", 3)).code == ""
        await sim.send("t", temp=5.0)
        await sim.advance(5 * SECOND)
        assert sent(sim)[-1] == "5", "the lane goes on"
        await sim.stop()

    run(test())


EMIT = "emit told(value: r.temp)"
LISTENER = (
    'rule hears {\n version "1.0.0"\n record Told { value: float }\n'
    ' on event "told" as e: Told\n log.info("{e.value:0}")\n}\n'
)


@pytest.mark.parametrize("when", ["before the start", "after the start", "never"])
def test_what_a_crash_left_of_a_replaced_program_is_withheld_when_its_signer_is_revoked(
    tmp_path: Path, when: str
) -> None:
    """`never` is the control: then all is sent."""

    async def first() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
        await replaced(sim)
        if when == "before the start":
            sim.node.trust([])
        await sim.turns()
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].is_ready = False
        await sim.advance(60 * SECOND)
        if when == "after the start":
            sim.node.trust([])
            await sim.node.stop_distrusted()
        sim.drivers["mqtt"].set_ready(True)
        await sim.advance(10 * SECOND)
        assert sent(sim) == (["1", "2", "3", "4"] if when == "never" else ["4"])
        outcomes = withheld(sim)
        assert [outcome for outcome, _ in outcomes] == [ActionOutcome.CANCELLED] * (0 if when == "never" else 3)
        assert all("no such key is trusted here" in why or "too few trusted keys" in why for _, why in outcomes), (
            outcomes
        )
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(first())
    run(second())


@pytest.mark.parametrize("revoked", [True, False], ids=["revoked", "trusted"])
def test_an_event_that_a_replaced_program_emitted_before_a_crash_is_withheld_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revoked: bool
) -> None:
    async def first() -> None:
        sim = await NodeSim.started(tmp_path, LISTENER)
        monkeypatch.setattr(sim.node.engine.core.intake, "emit", lambda *_: None)  # it crashes before they are heard
        await replaced(sim, EMIT)
        if revoked:
            sim.node.trust([])
        await sim.turns()
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.advance(SECOND)
        heard = [args["message"] for _, _, args in sim.drivers["log"].acted]
        assert heard == ([] if revoked else ["1", "2", "3"])
        assert [outcome for outcome, _ in withheld(sim)] == [ActionOutcome.CANCELLED] * (3 if revoked else 0)
        await sim.stop()

    run(first())
    run(second())


def test_what_a_crash_left_of_a_program_that_runs_no_more_says_so(tmp_path: Path) -> None:
    """Its own messages, too: it is not the stop of the node that keeps them from being sent."""

    async def first() -> None:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
        sim.node.trust([public_key_of(OTHER)])
        assert (await sim.node.install(program(sender(1), OTHER), {}, "d", 1)).code == ""
        await sim.send("t", temp=1.0)
        sim.node.trust([])
        await sim.turns()
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.advance(SECOND)
        ((outcome, why),) = withheld(sim)
        assert outcome is ActionOutcome.CANCELLED and fingerprint(public_key_of(OTHER)) in why
        await sim.stop()

    run(first())
    run(second())
