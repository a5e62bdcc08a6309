"""A commit of which nobody knows whether the disk took it: its answer must never be taken for that of another one."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.failing_disk import registered_disk
from components.node_sim import NODE_KEY, NodeSim, program
from eyeflow.node.config.config import OfflineConfig
from eyeflow.node.config.sections import Durability
from eyeflow.node.control import InstallOutcome
from eyeflow.node.engine.disk import DiskGuard, _Doubt
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.svm.signing import public_key_of, sign_program
from unit.node.engine.rules import TELLER, S, run
from unit.node.engine.test_trials import BAD, back, counter, install, reopened, send

OTHER = bytes(range(100, 132))
MB = 1024 * 1024


async def settle(sim: NodeSim, duration_us: int = 0) -> None:
    """Let time pass while a turn waits for the disk."""
    sim.clock.move(sim.clock.time_us + duration_us)
    for _ in range(50):
        await asyncio.sleep(0)


async def install_in_doubt_then_event(path: Path, name: str) -> tuple[int, list[ExecutionBody], bool]:
    """Return how many events were acknowledged, the executions that are recorded, and whether the chain holds."""
    with registered_disk(name) as disk:
        sim = await NodeSim.started(path, TELLER, vfs=disk.name)
        disk.sync_errors = True
        result = await sim.install(TELLER.replace("1.0.0", "2.0.0"), 2)
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "storage_unknown")
        await sim.send("t", temp=1.0)
        turn = asyncio.ensure_future(sim.node.engine.turn())
        await settle(sim)
        assert not turn.done() and sim.done == 0, "the disk does not even open"
        disk.sync_errors = False
        for _ in range(60):
            await settle(sim, S)
        await turn
        await settle(sim)
        found = sim.bodies(ExecutionBody)
        holds = verify_chain(sim.store.audit_range(1, 100), NODE_KEY.public_key).holds
        sim.crash()
        return sim.done, found, holds


def test_an_install_that_was_written_after_all_is_not_taken_for_the_events_that_came_later(tmp_path: Path) -> None:
    """An event that is acknowledged is recorded, whatever the disk did with the change before it."""

    async def test() -> None:
        acknowledged, recorded, holds = await install_in_doubt_then_event(tmp_path, "doubt-install")
        assert (acknowledged, len(recorded), holds) == (1, 1, True)

    run(test())


def test_control_a_doubt_that_moves_on_to_the_next_batch_loses_its_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = DiskGuard._try

    async def moved(self: DiskGuard, batch: Any, undo: Any = None) -> int:
        try:
            return await attempt(self, batch, undo)
        except StorageError:
            self._in_doubt = _Doubt(batch)
            raise

    monkeypatch.setattr(DiskGuard, "_try", moved)

    async def test() -> None:
        acknowledged, recorded, _ = await install_in_doubt_then_event(tmp_path, "doubt-control")
        assert (acknowledged, len(recorded)) == (1, 0)

    run(test())


def test_what_acted_without_a_record_and_was_written_after_all_is_not_performed_at_the_next_start(
    tmp_path: Path,
) -> None:
    offline = OfflineConfig(durability=Durability.NONE_ON_FULL_DISK)

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs, offline=offline)
        for works in (False, False, True):
            disk.sync_errors = not works
            sim.clock.move(sim.clock.time_us + 60 * S)
            await sim.send("t", temp=1.0)
            await sim.turns()
        assert [args["message"] for _, _, args in sim.drivers["log"].acted] == ["1", "2", "3"]
        await sim.advance(S)
        assert len(sim.bodies(ExecutionBody)) == 2, "the first fsync failed, and its record is in the file all the same"
        assert sim.store.restore().pending == ()
        sim.crash()
        again = await NodeSim.started(tmp_path)
        await again.advance(S)
        assert again.drivers["log"].acted == []
        await again.stop()

    with registered_disk("doubt-unrecorded") as disk:
        run(test(disk.name))


TICKER = """
rule ticker {
    version "1.0.0"
    state n: int = 0
    on every 1s
    n = n + 1
    mqtt.publish("out", "{n}")
}
"""


def test_what_waits_for_the_disk_when_the_node_stops_is_performed_at_the_next_start(tmp_path: Path) -> None:
    """Its record is in the file after all. Nothing has acted on it, and no timer comes again."""

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TICKER, vfs=vfs)
        running = asyncio.ensure_future(sim.node.engine.run())
        await settle(sim)
        disk.sync_errors = True
        await settle(sim, S)
        await settle(sim, 2 * S)  # tried again: closed without a sync, SQLite leaves the record in its log
        assert sim.node.engine.disk.problem is not None
        assert [args["payload"] for _, _, args in sim.drivers["mqtt"].acted] == ["1"]
        disk.sync_errors = False
        await sim.stop()
        assert (
            running.cancelled()
            and len([1 for data in sim.store_bytes if isinstance(decode_record(data).body, ExecutionBody)]) == 2
        )
        again = await NodeSim.started(tmp_path)
        await again.turns()
        assert [args["payload"] for _, _, args in again.drivers["mqtt"].acted][:1] == ["2"]
        await again.stop()

    with registered_disk("doubt-stopped") as disk:
        run(test(disk.name))


# --- a change whose commit failed ------------------------------------------------------------------------------------

NEWER = TELLER.replace("1.0.0", "2.0.0")
Held = tuple[dict[str, tuple[str, int]], list[str]]


def held(sim: NodeSim) -> Held:
    """Return what the node holds: the slots of its rules with their signatures, and what runs."""
    slots = {str(key): (row.program_id.hex(), len(row.program)) for key, row in sim.node.installer.table._rows.items()}
    return slots, sorted(str(key) for key in sim.node.engine.core.rules)


async def changed(sim: NodeSim, change: str) -> str:
    """Ask for a change; return the code of the answer, empty for a success."""
    if change == "remove":
        try:
            await sim.node.remove("counter")
        except StorageError as error:
            return error.code
        return ""
    data = program(NEWER if change == "update" else TELLER)
    if change == "sign":
        data = sign_program(data, OTHER)
    return (await sim.node.install(data, {}, "d", 2)).code


async def before(path: Path, change: str, vfs: str) -> tuple[NodeSim, Held]:
    (path / "data").mkdir()
    sim = await NodeSim.started(path / "data", *([] if change == "first" else [TELLER]), vfs=vfs)
    sim.node.trust([public_key_of(OTHER)])
    if change != "first":
        await sim.send("t", temp=1.0)
    await sim.advance(S)
    return sim, held(sim)


async def after_a_restart(sim: NodeSim) -> Held:
    """Return what a node holds that starts with these files as they are now: to close them would write them."""
    path = sim.config.data_dir.with_name("killed")
    shutil.copytree(sim.config.data_dir, path)
    known = len(sim.bodies(ExecutionBody))
    sim.crash()
    again = await NodeSim.started(path)
    found = held(again)
    assert verify_chain(again.store.audit_range(1, 100), NODE_KEY.public_key).holds
    if found[1]:
        await again.send("t", temp=1.0)
        await again.turns()
        assert [args["message"] for _, _, args in again.drivers["log"].acted] == [str(known + 1)], "with its state"
    await again.stop()
    return found


CHANGES = ["first", "update", "sign", "remove"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_commit_failed_has_the_answer_that_the_file_gives(tmp_path: Path, change: str) -> None:
    """One fsync fails, which leaves open what the file holds: the node finds out before it answers."""

    async def test(vfs: str) -> None:
        sim, old = await before(tmp_path, change, vfs)
        disk.sync_errors_left = 1
        code = await changed(sim, change)
        now = held(sim)
        assert (now != old) is (code == "")
        assert await after_a_restart(sim) == now

    with registered_disk(f"answer-{change}") as disk:
        run(test(disk.name))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_which_nobody_knows_is_undone_once_the_disk_is_back(tmp_path: Path, change: str) -> None:
    async def test(vfs: str) -> None:
        sim, old = await before(tmp_path, change, vfs)
        disk.sync_errors = True
        assert await changed(sim, change) in ("storage_unknown", "disk_in_doubt")
        assert held(sim) == old
        disk.sync_errors = False
        sim.clock.move(sim.clock.time_us + 60 * S)
        assert (await sim.install(TELLER.replace("counter", "other"), 1)).code == ""
        assert (await sim.node.remove("other")) and held(sim) == old
        assert await after_a_restart(sim) == old

    with registered_disk(f"undone-{change}") as disk:
        run(test(disk.name))


def test_a_disk_that_fails_while_the_only_program_is_forgotten_does_not_end_the_node(tmp_path: Path) -> None:
    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, vfs=vfs)
        await install(sim, counter(2, bad=True), 2)
        await send(sim, *[BAD] * 20)
        assert await sim.node.trials.look()
        disk.sync_errors = True
        with pytest.raises(StorageError):
            await sim.node.settle_taken_back(lambda row: False)
        assert back(sim) is not None, "it is known still: nobody knows what the file holds"
        disk.sync_errors = False
        sim.clock.move(sim.clock.time_us + 60_000_000)
        await sim.node.settle_taken_back(lambda row: False)
        sim = await reopened(sim)
        assert back(sim) is None and sim.store.restore().rejected == {}
        await sim.stop()

    with registered_disk("settled") as disk:
        run(test(disk.name))


# --- a disk that goes away, with the directory below its mount point left empty ------------------------------------


async def acknowledged_after_unmount(path: Path, name: str) -> tuple[int, str]:
    """Return how many events were acknowledged while the disk was away, and what the node said of its store."""
    away = path.with_name(path.name + "-away")
    away.mkdir()
    with registered_disk(name) as disk:
        sim = await NodeSim.started(path, TELLER, vfs=disk.name)
        disk.write_errors = True
        await sim.send("t", temp=1.0)
        turn = asyncio.ensure_future(sim.node.engine.turn())
        await settle(sim)
        for file in path.glob("node.db*"):
            file.rename(away / file.name)
        disk.write_errors = False
        for _ in range(60):
            await settle(sim, S)
        done, problem = sim.done, sim.node.engine.disk.problem
        for file in away.iterdir():
            file.rename(path / file.name)
        for _ in range(60):
            await settle(sim, S)
        await turn
        assert sim.done == 1, "the disk is back"
        assert len(sim.bodies(ExecutionBody)) == 1
        assert verify_chain(sim.store.audit_range(1, 100), NODE_KEY.public_key).holds
        sim.crash()
        return done, "" if problem is None else problem.whole


def test_a_node_whose_disk_went_away_begins_no_new_store_below_its_mount_point(tmp_path: Path) -> None:
    """Its records would be hidden as soon as the disk is back, and its chain would be a fork."""

    async def test() -> None:
        path = tmp_path / "data"
        path.mkdir()
        done, problem = await acknowledged_after_unmount(path, "unmounted")
        assert done == 0 and "gone" in problem, problem

    run(test())


@pytest.mark.parametrize("other", ["empty", "new"])
def test_another_store_in_the_place_of_the_own_one_is_not_written(tmp_path: Path, other: str) -> None:
    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs)
        disk.write_errors = True
        await sim.send("t", temp=1.0)
        turn = asyncio.ensure_future(sim.node.engine.turn())
        await settle(sim)
        for file in tmp_path.glob("node.db*"):
            file.unlink()
        if other == "empty":
            (tmp_path / "node.db").touch()
        else:
            Store(tmp_path, "sim", NODE_KEY, sim.config.offline.limits, now_us=lambda: 5 * S).close(clean=True)
        disk.write_errors = False
        for _ in range(60):
            await settle(sim, S)
        assert not turn.done() and sim.done == 0
        assert sim.node.engine.disk.problem is not None and sim.node.engine.disk.problem.code == "store_replaced"
        turn.cancel()

    with registered_disk(f"replaced-{other}") as disk:
        run(test(disk.name))
