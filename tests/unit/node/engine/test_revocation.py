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
from eyeflow.node.run_key import active
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, WithdrawBody
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
        assert [one.rule for one in installed_of(sim.node.status(), 1)] == ["ours"], "the other one is fetched again"
        assert "runs until the grace of this node is over" in refusal_of(sim.node.status(), "theirs")
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

        def slow(self: Any, data: bytes, trusted: Any) -> Any:
            loaded = load(self, data, trusted)
            sim.node.installer.trusted = set()
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
