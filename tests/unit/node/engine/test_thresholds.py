"""A node that asks for two signers: no way in for a program with one. With `signers_min` 1, the control, each is one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import SIGNER, NodeSim, program
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine.revocation import Revocation
from eyeflow.node.engine.trust import Trust
from eyeflow.node.run_key import active, candidate
from eyeflow.node.store.types import PASSED, Wish
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.signer_list import NEEDED_MAX, Threshold, make_list
from eyeflow.svm.container import SIGNATURES_MAX
from eyeflow.svm.signing import fingerprint, public_key_of, sign_program

ANNA, BEN = SIGNER, bytes(range(100, 132))
KEYS = [public_key_of(ANNA), public_key_of(BEN)]
ROOT = Identity(bytes(range(40, 72)))
SECOND = 1_000_000


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def rule(version: int, name: str = "pump") -> str:
    return (
        f'rule {name} {{\n version "{version}.0.0"\n record Reading {{ temp: float }}\n state n: int = 0\n'
        f' on mqtt "t" as r: Reading\n n = n + 1\n mqtt.publish("a", "{version}")\n}}\n'
    )


def by_one(version: int, name: str = "pump") -> bytes:
    return program(rule(version, name), ANNA)


def by_both(version: int, name: str = "pump") -> bytes:
    return sign_program(by_one(version, name), BEN)


async def started(path: Path, needed: int, *programs: bytes) -> NodeSim:
    """A node that runs these programs one after the other; each passes. Anna and Ben are trusted."""
    sim = await NodeSim.started(path, signers_min=needed)
    sim.node.trust(KEYS[1:])
    for number, data in enumerate(programs, start=1):
        result = await sim.node.install(data, {}, f"d{number}", number)
        assert result.outcome is InstallOutcome.INSTALLED, result
        assert await sim.node.record_pass("pump", result.program_id)
    return sim


async def acts(sim: NodeSim) -> list[object]:
    """Return which versions act on an event."""
    before = len(sim.drivers["mqtt"].acted)
    await sim.send("t", temp=1.0)
    await sim.turns()
    return [args["payload"] for _, _, args in sim.drivers["mqtt"].acted[before:]]


Way = Callable[[NodeSim], Awaitable[InstallResult]]


async def _swap(sim: NodeSim) -> InstallResult:
    await sim.node.stage(by_one(2), {}, "d9", 9)
    return await sim.swap("pump", 9, Wish("d9", PASSED), Wish("d1", PASSED))


async def _promote(sim: NodeSim) -> InstallResult:
    await sim.node.stage(by_one(2), {}, "d9", 9)
    return await sim.promote("pump")


WAYS: dict[str, Way] = {
    "install": lambda sim: sim.node.install(by_one(2), {}, "d9", 9),
    "stage": lambda sim: sim.node.stage(by_one(2), {}, "d9", 9),
    "promote": _promote,
    "swap": _swap,
}


@pytest.mark.parametrize("needed", [2, 1], ids=["", "control"])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_in_for_a_program_with_one_signature(tmp_path: Path, way: str, needed: int) -> None:
    async def test() -> None:
        sim = await started(tmp_path, needed, by_both(1))
        result = await WAYS[way](sim)
        let_in = {key: one.program.version for key, one in sim.node.engine.core.rules.items()}
        if needed == 2:
            assert result.outcome is InstallOutcome.REFUSED
            assert let_in == {active("pump"): "1.0.0"} and await acts(sim) == ["1"]
        else:
            assert result.outcome is InstallOutcome.INSTALLED and "2.0.0" in let_in.values()
        await sim.stop()

    run(test())


def test_the_refusal_says_who_signed_and_what_to_do(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await started(tmp_path, 2)
        result = await sim.node.install(by_one(1), {}, "d", 1)
        assert result.code == "too_few_signers"
        assert f"1 trusted key signed it ({fingerprint(KEYS[0])}), and 2 must" in result.message
        assert "eyeflow sign PROGRAM --key NAME" in result.next_step
        stranger = sign_program(by_one(1), bytes(range(7, 39)))
        assert (await sim.node.install(stranger, {}, "d", 1)).code == "too_few_signers", "a stranger's does not count"
        assert (await sim.node.install(by_both(1), {}, "d", 1)).outcome is InstallOutcome.INSTALLED
        await sim.stop()

    run(test())


@pytest.mark.parametrize("needed", [2, 1], ids=["", "control"])
def test_after_a_start_with_a_higher_number_a_program_of_one_does_not_run(tmp_path: Path, needed: int) -> None:
    async def test() -> None:
        sim = await started(tmp_path, 1, by_one(1))
        await sim.stop()
        again = await NodeSim.started(tmp_path, signers_min=needed)
        assert await acts(again) == ([] if needed == 2 else ["1"])
        shown = again.rule("pump")
        assert shown["state"] == ("refused" if needed == 2 else "running")
        assert ("and 2 must" in str(shown["last_error"])) is (needed == 2)
        await again.stop()

    run(test())


@pytest.mark.parametrize("needed", [2, 1], ids=["", "control"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_rollback_brings_no_program_of_one_back(tmp_path: Path, needed: int, warm: bool) -> None:
    """The threshold came after the program had passed. `warm`: it runs as candidate, after a swap."""

    async def test() -> None:
        sim = await started(tmp_path, 1, by_one(1))
        if warm:
            assert (await sim.node.stage(by_both(2), {}, "d2", 2)).code == ""
            assert (await sim.swap("pump", 2, Wish("d2", PASSED), Wish("d1", PASSED))).code == ""
            assert sim.node.engine.core.rules.keys() == {active("pump"), candidate("pump")}
        else:
            assert (await sim.node.install(by_both(2), {}, "d2", 2)).code == ""
        sim.node.installer.trust = Trust(frozenset(KEYS), needed)
        result = await sim.node.roll_back("pump", "it was bad")
        assert (result.outcome, bool(result.program_id)) == (InstallOutcome.INSTALLED, needed == 1)
        assert await acts(sim) == ([] if needed == 2 else ["1"]), "what was bad does not go on either"
        assert ("and 2 must" in str(sim.rule("pump").get("last_error"))) is (needed == 2)
        await sim.stop()

    run(test())


@pytest.mark.parametrize("needed", [2, 1], ids=["", "control"])
def test_when_one_of_two_is_revoked_the_program_stops(tmp_path: Path, needed: int) -> None:
    async def test() -> None:
        sim = await started(tmp_path, needed, by_both(1))
        sim.node.trust([])
        await sim.node.stop_distrusted()
        assert await acts(sim) == ([] if needed == 2 else ["1"])
        assert ("signed it" in str(sim.rule("pump")["last_error"])) is (needed == 2)
        sim.node.trust(KEYS[1:])
        if needed == 2:
            assert (await sim.node.install(by_both(1), {}, "d1", 1)).code == ""
        assert await acts(sim) == ["1"] and sim.node.engine.core.rules[active("pump")].instance.state_values()["n"] > 0
        await sim.stop()

    run(test())


@pytest.mark.parametrize("needed", [2, 1], ids=["", "control"])
def test_what_a_crash_left_of_a_program_of_one_is_withheld(tmp_path: Path, needed: int) -> None:
    async def first() -> None:
        sim = await started(tmp_path, 1, by_one(1))
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
        await sim.send("t", temp=1.0)
        await sim.turns()
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path, signers_min=needed)
        await sim.advance(SECOND)
        assert [args["payload"] for _, _, args in sim.drivers["mqtt"].acted] == ([] if needed == 2 else ["1"])
        await sim.stop()

    run(first())
    run(second())


@pytest.mark.parametrize("needed", [2, 1], ids=["", "control"])
@pytest.mark.parametrize("how", ["revoked", "crash"])
def test_what_an_older_program_of_one_has_to_send_is_withheld(tmp_path: Path, needed: int, how: str) -> None:
    """The newer one, which two signed, goes on: its messages are sent."""

    async def first() -> None:
        sim = await started(tmp_path, 1, by_one(1))
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1.0 if how == "revoked" else 3600.0
        for data in (by_one(1), by_both(2)):
            assert (await sim.node.install(data, {}, "d2", 2)).code == ""
            await sim.send("t", temp=1.0)
            await sim.turns()
        if how == "crash":
            sim.crash()
            return
        sim.node.installer.trust = Trust(frozenset(KEYS), needed)
        await sim.node.stop_distrusted()
        await sim.advance(5 * SECOND)
        sent.extend(args["payload"] for _, _, args in sim.drivers["mqtt"].acted)
        await sim.stop()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path, signers_min=needed)
        await sim.advance(SECOND)
        sent.extend(args["payload"] for _, _, args in sim.drivers["mqtt"].acted)
        await sim.stop()

    sent: list[object] = []
    run(first())
    if how == "crash":
        run(second())
    assert sent == (["2"] if needed == 2 else ["1", "2"])


@pytest.mark.parametrize("revoked", [True, False], ids=["", "control"])
def test_a_candidate_in_its_grace_is_not_promoted(tmp_path: Path, revoked: bool) -> None:
    async def test() -> None:
        sim = await started(tmp_path, 2, by_both(1))
        sim.node.revocation = Revocation(sim.node.installer, sim.clock, 3600.0)
        assert (await sim.node.stage(by_both(2), {}, "d2", 2)).code == ""
        if revoked:
            sim.node.trust([])
        await sim.node.stop_distrusted()
        assert candidate("pump") in sim.node.engine.core.rules, "it runs until the grace is over"
        assert (await sim.promote("pump")).code == ("no_candidate" if revoked else "")
        assert await acts(sim) == (["1"] if revoked else ["2"])
        await sim.stop()

    run(test())


# --- the root's list says how many ------------------------------------------------------------------------------------


def root_list(version: int, *thresholds: Threshold) -> bytes:
    made = make_list(version, 1, 0, KEYS, ROOT.public_key, ROOT.sign, thresholds)
    return made.text().encode()


WHERE = {
    "everywhere": (Threshold(2), 2),
    "this rule": (Threshold(2, rules="pu*"), 2),
    "this node": (Threshold(3, nodes="s?m"), 3),
    "this label": (Threshold(2, labels=(("site", "lyon"),)), 2),
    "another rule": (Threshold(2, rules="fan*"), 1),
    "another node": (Threshold(2, nodes="node-*"), 1),
    "another label": (Threshold(2, labels=(("line", "2"), ("site", "lyon"))), 1),
}


@pytest.mark.parametrize("where", WHERE)
def test_the_list_of_the_root_says_how_many_sign(tmp_path: Path, where: str) -> None:
    threshold, needed = WHERE[where]

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, root_keys=[ROOT.public_key], labels=[("site", "lyon")])
        sim.node.trust(KEYS)
        sim.node.take_signer_list(root_list(1, threshold))
        assert sim.node.installer.trust.needed("pump") == needed
        result = await sim.node.install(by_one(1), {}, "d", 1)
        assert result.code == ("" if needed == 1 else "too_few_signers"), result
        await sim.advance(SECOND)
        await sim.stop()
        again = await NodeSim.started(tmp_path, root_keys=[ROOT.public_key], labels=[("site", "lyon")])
        assert again.node.installer.trust.needed("pump") == needed, "after a start, before any coordinator spoke"
        await again.stop()

    run(test())


def test_a_new_list_raises_the_number_for_what_runs_and_only_a_newer_one_lowers_it(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, root_keys=[ROOT.public_key])
        sim.node.trust(KEYS)
        sim.node.take_signer_list(root_list(1))
        assert (await sim.node.install(by_one(1), {}, "d1", 1)).code == ""
        sim.node.take_signer_list(root_list(2, Threshold(2)))
        await sim.node.stop_distrusted()
        assert sim.rule("pump")["state"] == "refused" and await acts(sim) == []
        assert (await sim.node.install(by_both(1), {}, "d1", 1)).code == ""
        assert await acts(sim) == ["1"]
        sim.node.take_signer_list(root_list(3))
        assert (await sim.node.install(by_one(2), {}, "d2", 2)).code == ""
        await sim.stop()

    run(test())


def test_the_configuration_and_the_list_hold_together() -> None:
    trust = Trust(frozenset(KEYS), 2, (Threshold(3, rules="pump"),))
    assert (trust.needed("pump"), trust.needed("fan")) == (3, 2)
    assert NEEDED_MAX == SIGNATURES_MAX, "no threshold asks for more than a program can carry"
