"""A node that knows a root: whom it trusts, also after a start, and what it takes once the list has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.signer_list import SignerListError, make_list
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.signing import public_key_of

ROOT = Identity(bytes(range(40, 72)))
ANNA, THIEF = bytes(range(100, 132)), bytes(range(101, 133))
BOTH = [public_key_of(ANNA), public_key_of(THIEF)]


def rule(name: str) -> str:
    return f'rule {name} {{\n version "1.0.0"\n on every 1s\n log.info("{name}")\n}}\n'


def signers(version: int, expires_us: int = 0) -> bytes:
    return make_list(version, 1, expires_us, BOTH[:1], ROOT.public_key, ROOT.sign).text().encode()


async def install(sim: NodeSim, name: str, key: bytes) -> InstallResult | str:
    try:
        return await sim.node.install(program(rule(name), key), {}, "d", 1)
    except ProgramError as error:
        return error.code


def shown(sim: NodeSim, *names: str) -> tuple[object, ...]:
    trust = sim.node.status()["trust"]
    assert isinstance(trust, dict)
    return tuple(trust[name] for name in names)


def is_in(result: InstallResult | str) -> bool:
    return isinstance(result, InstallResult) and result.outcome is InstallOutcome.INSTALLED


@pytest.mark.parametrize("knows", [True, False], ids=["", "control"])
def test_the_coordinator_alone_makes_nobody_trusted(tmp_path: Path, knows: bool) -> None:
    async def test() -> None:
        options = {"root_keys": [ROOT.public_key]} if knows else {}
        sim = await NodeSim.started(tmp_path, **options)
        sim.node.trust(BOTH)
        assert is_in(await install(sim, "early", ANNA)) is not knows
        if knows:
            sim.node.take_signer_list(signers(3))
        assert is_in(await install(sim, "annas", ANNA))
        assert is_in(await install(sim, "thiefs", THIEF)) is not knows
        await sim.advance(2_000_000)
        await sim.stop()

        again = await NodeSim.started(tmp_path, **options)
        assert (public_key_of(THIEF) in again.node.installer.trust.keys) is not knows, (
            "before any coordinator has spoken"
        )
        assert public_key_of(ANNA) in again.node.installer.trust.keys, "the list is durable"
        if knows:
            with pytest.raises(SignerListError, match="older"):
                again.node.take_signer_list(signers(2))
        await again.stop()

    asyncio.run(test())


def test_an_expired_list_lets_nothing_new_in_and_stops_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, root_keys=[ROOT.public_key])
        sim.node.trust(BOTH)
        assert shown(sim, "roots", "list_version", "signers") == (1, 0, 1), "the key of its configuration"
        sim.node.take_signer_list(signers(1, sim.clock.now_us() + 10_000_000))
        assert shown(sim, "list_version", "list_expires_us", "signers", "problem") == (
            1,
            sim.clock.now_us() + 10_000_000,
            2,
            "",
        )
        assert is_in(await install(sim, "annas", ANNA))
        await sim.advance(11_000_000)
        result = await install(sim, "late", ANNA)
        assert isinstance(result, InstallResult) and result.code == "signers_expired", result
        staged = await sim.node.stage(program(rule("annas"), ANNA), {}, "d", 2)
        assert staged.code == "signers_expired"
        assert "has expired" in str(shown(sim, "problem")[0])
        before = sim.rule("annas")["executions"]
        await sim.advance(5_000_000)
        assert sim.rule("annas")["executions"] > before  # type: ignore[operator]
        sim.node.take_signer_list(signers(2))
        assert is_in(await install(sim, "late", ANNA)), "the control: a list that holds"
        await sim.stop()

    asyncio.run(test())
