"""The engine on a disk that refuses: real SQLite, real rules, a VFS that fails when told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from components.failing_disk import registered_disk
from components.node_sim import NODE_KEY, NodeSim
from eyeflow.node.config.config import OfflineConfig
from eyeflow.node.config.sections import Durability
from eyeflow.node.control import InstallOutcome
from eyeflow.node.run_key import active
from eyeflow.node.store.types import Batch, BufferLimits, Committed, OnFull
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, RejectedBody, StartBody
from unit.node.engine.rules import TELLER, S, run

MB = 1024 * 1024


async def until_blocked(sim: NodeSim) -> asyncio.Task[None]:
    """Run turns in a task; the disk refuses, so it waits for the clock."""
    task = asyncio.ensure_future(sim.turns())
    for _ in range(50):
        await asyncio.sleep(0)
    return task


async def until_done(sim: NodeSim, task: asyncio.Task[None]) -> None:
    for _ in range(200):
        if task.done():
            break
        sim.clock.move(sim.clock.time_us + S)
        for _ in range(50):
            await asyncio.sleep(0)
    await task


@pytest.mark.parametrize("switch", ["full", "write_errors", "sync_errors"])
def test_what_cannot_be_recorded_is_not_acknowledged_and_does_not_act(tmp_path: Path, switch: str) -> None:
    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs)
        await sim.send("t", temp=1.0)
        await sim.turns()
        setattr(disk, switch, True)
        for _ in range(5):
            await sim.send("t", temp=1.0)
        task = await until_blocked(sim)
        sim.clock.move(sim.clock.time_us + 60 * S)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done() and sim.done == 1 and len(sim.drivers["log"].acted) == 1
        store = sim.node.status()["store"]
        assert isinstance(store, dict) and store["state"] == "failed" and store["problem"] and store["next_step"]
        setattr(disk, switch, False)
        await until_done(sim, task)
        assert sim.done == 6
        assert [args["message"] for _, _, args in sim.drivers["log"].acted] == [str(n) for n in range(1, 7)]
        assert len(sim.bodies(ExecutionBody)) == 6, "each once, although SQLite may have written them before"
        assert verify_chain(sim.store.audit_range(1, 100), NODE_KEY.public_key).holds
        store = sim.node.status()["store"]
        assert isinstance(store, dict) and store["state"] == "up"
        await sim.stop()

    with registered_disk(f"engine-{switch}") as disk:
        run(test(disk.name))


def test_a_node_without_events_sees_by_itself_that_its_disk_works_again(tmp_path: Path) -> None:
    """Found by the simulation of the cluster: the loop spun until an event came, and the status said `failed`."""

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, vfs=vfs)
        disk.write_errors = True
        assert (await sim.install(TELLER)).outcome is InstallOutcome.REFUSED
        running = asyncio.ensure_future(sim.node.engine.run())
        for still_fails in (True, True, False):
            disk.write_errors = still_fails
            sim.clock.move(sim.clock.time_us + 15 * S)
            for _ in range(50):
                await asyncio.sleep(0)
            assert sim.clock.next_us() is not None, "the loop sleeps until the next attempt"
            assert sim.node.status()["store"]["state"] == ("failed" if still_fails else "up")  # type: ignore[index]
        sim.node.engine.finish()
        await running
        sim.crash()

    with registered_disk("engine-idle") as disk:
        run(test(disk.name))


def test_the_named_setting_lets_rules_act_without_a_record(tmp_path: Path) -> None:
    offline = OfflineConfig(durability=Durability.NONE_ON_FULL_DISK)

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs, offline=offline)
        disk.full = True
        for _ in range(5):
            await sim.send("t", temp=1.0)
            await sim.turns()
        assert len(sim.drivers["log"].acted) == 5 and sim.done == 5
        store = sim.node.status()["store"]
        assert isinstance(store, dict) and (store["state"], store["unrecorded"]) == ("failed", 5)
        disk.full = False
        sim.clock.move(sim.clock.time_us + 60 * S)
        await sim.send("t", temp=1.0)
        await sim.turns()
        report = verify_chain(sim.store.audit_range(1, 100), NODE_KEY.public_key)
        assert report.holds
        assert [(gap.count, gap.reason) for gap in report.lost] == [(5, "unrecorded")]
        assert len(sim.bodies(ExecutionBody)) == 1
        assert sim.node.engine.core.rules[active("counter")].instance.state_values() == {"n": 6}
        sim.crash()
        again = await NodeSim.started(tmp_path)
        assert again.node.engine.core.rules[active("counter")].instance.state_values() == {"n": 6}
        await again.stop()

    with registered_disk("engine-unrecorded") as disk:
        run(test(disk.name))


def test_what_rules_remember_of_unrecorded_executions_is_kept_once_the_disk_is_back(tmp_path: Path) -> None:
    """Also of a rule that gets no further event before the node stops."""
    offline = OfflineConfig(durability=Durability.NONE_ON_FULL_DISK)

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs, offline=offline)
        disk.full = True
        for _ in range(3):
            await sim.send("t", temp=1.0)
            await sim.turns()
        disk.full = False
        sim.clock.move(sim.clock.time_us + 60 * S)
        await sim.turns()
        await sim.stop()
        again = await NodeSim.started(tmp_path)
        assert again.node.engine.core.rules[active("counter")].instance.state_values() == {"n": 3}
        await again.stop()

    with registered_disk("engine-unsaved") as disk:
        run(test(disk.name))


def test_a_clock_that_is_set_back_does_not_put_the_disk_off(tmp_path: Path) -> None:
    offline = OfflineConfig(durability=Durability.NONE_ON_FULL_DISK)

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs, offline=offline)
        disk.full = True
        await sim.send("t", temp=1.0)
        await sim.turns()
        disk.full = False
        sim.clock.time_us -= 3600 * S
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert len(sim.bodies(ExecutionBody)) == 1
        await sim.stop()

    with registered_disk("engine-set-back") as disk:
        run(test(disk.name))


def test_an_install_on_a_full_disk_is_refused_and_the_old_program_runs_on(tmp_path: Path) -> None:
    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs)
        disk.full = True
        result = await sim.install(TELLER.replace("1.0.0", "2.0.0"), 2)
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "storage")
        disk.full = False
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sim.rule("counter")["version"] == "1.0.0" and sim.done == 1
        assert (await sim.install(TELLER.replace("1.0.0", "2.0.0"), 2)).outcome is InstallOutcome.INSTALLED
        await sim.stop()

    with registered_disk("engine-install") as disk:
        run(test(disk.name))


def test_a_node_stops_also_while_the_disk_refuses(tmp_path: Path) -> None:
    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs)
        engine = asyncio.ensure_future(sim.node.engine.run())
        await asyncio.sleep(0)
        disk.full = True
        await sim.send("t", temp=1.0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not await sim.node.stop("test")
        assert engine.done() and sim.done == 0
        disk.full = False
        sim.crash()
        again = await NodeSim.started(tmp_path)
        assert again.bodies(ExecutionBody) == []
        await again.stop()

    with registered_disk("engine-stop") as disk:
        run(test(disk.name))


def test_a_disk_that_refuses_in_the_moment_of_the_stop_ends_the_engine_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the engine's task would end the node with a traceback, and its actions without their grace."""

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs)
        commit = sim.store.commit

        def refused(batch: Batch) -> Committed:
            sim.node.engine.finish()
            return commit(batch)

        monkeypatch.setattr(sim.store, "commit", refused)
        disk.full = True
        engine = asyncio.ensure_future(sim.node.engine.run())
        await sim.send("t", temp=1.0)
        await asyncio.wait({engine})
        assert engine.exception() is None and sim.done == 0
        disk.full = False
        sim.crash()

    with registered_disk("engine-stop-refused") as disk:
        run(test(disk.name))


def test_at_the_size_bound_the_oldest_go_and_the_rules_never_notice(tmp_path: Path) -> None:
    offline = OfflineConfig(BufferLimits(4 * MB, 10**18))

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, TELLER, offline=offline)
        sent = 0
        while sim.store.counters.gaps < 2:
            for _ in range(500):
                await sim.send("t", temp=1.0)
            sent += 500
            await sim.turns()
        assert sim.done == sent == len(sim.drivers["log"].acted)
        report = verify_chain(sim.store.audit_range(1, 10**6), NODE_KEY.public_key)
        assert report.holds and report.lost
        assert sim.rule("counter")["executions"] == sent
        await sim.stop()

    run(test())


def test_reject_new_refuses_events_until_there_is_room(tmp_path: Path) -> None:
    offline = OfflineConfig(BufferLimits(4 * MB, 3600 * S, OnFull.REJECT_NEW))

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, TELLER, offline=offline)
        task = asyncio.ensure_future(asyncio.sleep(0))
        sent = 0
        while sim.node.engine.disk.problem is None:
            for _ in range(200):
                await sim.send("t", temp=1.0)
            sent += 200
            task = await until_blocked(sim)
            if task.done():
                await task
        before = sim.done
        await sim.send("t", temp=1.0)
        assert sim.done == before + 1, "refused at once: nobody waits"
        told: list[str] = []
        event = sim.event("t", {"temp": 1.0})._replace(refused=lambda: told.append("refused"))
        await sim.node.engine.deliver(event)
        assert (told, sim.done) == (["refused"], before + 1), "who can tell its sender does not acknowledge"
        sim.clock.move(sim.clock.time_us + 7200 * S)
        await until_done(sim, task)
        assert sim.done == sent + 1
        rejected = [body for body in sim.bodies(RejectedBody) if "buffer is full" in body.reason]
        assert [body.count for body in rejected] == [2]
        assert verify_chain(sim.store.audit_range(1, 10**6), NODE_KEY.public_key).holds
        await sim.stop()

    run(test())


# --- at a start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", ["full", "dead"])
def test_at_a_start_on_a_disk_that_refuses_rules_act_if_the_setting_says_so(tmp_path: Path, switch: str) -> None:
    offline = OfflineConfig(durability=Durability.NONE_ON_FULL_DISK)

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, offline=offline)
        await sim.send("t", temp=1.0)
        await sim.turns()
        await sim.stop()
        setattr(disk, switch, True)
        again = await NodeSim.started(tmp_path, vfs=vfs, offline=offline, free_bytes=disk.free_bytes)
        for _ in range(3):
            await again.send("t", temp=1.0)
            await again.turns()
        assert [args["message"] for _, _, args in again.drivers["log"].acted] == ["2", "3", "4"]
        store = again.node.status()["store"]
        assert isinstance(store, dict) and (store["state"], store["unrecorded"]) == ("failed", 3)
        setattr(disk, switch, False)
        again.clock.move(again.clock.time_us + 60 * S)
        await again.send("t", temp=1.0)
        await again.turns()
        assert len(again.bodies(ExecutionBody)) == 2 and len(again.bodies(StartBody)) == 2
        report = verify_chain(again.store.audit_range(1, 100), NODE_KEY.public_key)
        assert report.holds and [(gap.count, gap.reason) for gap in report.lost] == [(3, "unrecorded")]
        await again.stop()

    with registered_disk(f"engine-start-{switch}") as disk:
        run(test(disk.name))


def test_control_at_a_start_on_a_disk_that_refuses_full_durability_waits(tmp_path: Path) -> None:
    async def test(vfs: str) -> None:
        await (await NodeSim.started(tmp_path, TELLER)).stop()
        disk.full = True
        sim = await NodeSim.started(tmp_path, vfs=vfs, free_bytes=disk.free_bytes)
        await sim.send("t", temp=1.0)
        task = await until_blocked(sim)
        assert sim.done == 0 and sim.drivers["log"].acted == []
        disk.full = False
        await until_done(sim, task)
        assert sim.done == 1 and len(sim.drivers["log"].acted) == 1
        assert sim.node.engine.disk.problem is None
        await sim.stop()

    with registered_disk("engine-start-waits") as disk:
        run(test(disk.name))


def test_a_disk_that_no_call_reaches_is_borne_with(tmp_path: Path) -> None:
    """Remounted read-only, ext4 refuses writes as an SQLite error and everything else as an OSError."""

    async def test(vfs: str) -> None:
        sim = await NodeSim.started(tmp_path, TELLER, vfs=vfs, free_bytes=disk.free_bytes)
        disk.dead = disk.write_errors = True
        await sim.send("t", temp=1.0)
        task = await until_blocked(sim)
        for _ in range(3):
            sim.clock.move(sim.clock.time_us + 30 * S)
            for _ in range(50):
                await asyncio.sleep(0)
        assert not task.done() and sim.done == 0
        problem = sim.node.engine.disk.problem
        assert problem is not None and "read-only" in problem.message and "node.db" in problem.cause
        await sim.node.engine.disk.drop_aged()
        disk.dead = disk.write_errors = False
        await until_done(sim, task)
        assert sim.done == 1
        await sim.stop()

    with registered_disk("engine-dead") as disk:
        run(test(disk.name))


def test_a_store_that_is_damaged_while_the_node_runs_is_called_damaged(tmp_path: Path) -> None:
    offline = OfflineConfig(durability=Durability.NONE_ON_FULL_DISK)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, TELLER, offline=offline)
        await sim.send("t", temp=1.0)
        await sim.turns()
        sim.store.recover()
        path = tmp_path / "node.db"
        path.write_bytes(b"\xff" * path.stat().st_size)
        for _ in range(3):
            sim.clock.move(sim.clock.time_us + 60 * S)
            await sim.send("t", temp=1.0)
            await sim.turns()
        store = sim.node.status()["store"]
        assert isinstance(store, dict) and store["state"] == "failed"
        assert "damaged" in str(store["problem"]) and "audit verify" in str(store["next_step"])
        assert sim.done == 4, "the rules go on, as `durability` says"

    run(test())
