"""A store that is damaged is set aside whole, and said; the node starts with a new one. One that is sound never is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from components.node_sim import NODE_KEY, NodeSim
from eyeflow.base.errors import EyeflowError
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.world import World
from eyeflow.node.run_key import active
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.quarantine import KEPT_MAX, MARK, PREFIX, salvaged, unread
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import StartBody
from unit.node.engine.rules import COUNTER

Damage = Callable[[Path], None]


def ran_once(path: Path) -> dict[str, object]:
    """Start a node, and stop it as soon as it runs; return its status."""
    state: dict[str, object] = {}

    async def test() -> None:
        stop = asyncio.Event()

        def on_ready(node: NodeRuntime) -> None:
            state.update(node.status())
            stop.set()

        await run_node(NodeConfig("n1", path), stop=stop, on_ready=on_ready)

    asyncio.run(test())
    return state


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 400)


def bad_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def no_slots(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("DROP TABLE slots")
    db.close()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


def aside(path: Path) -> list[Path]:
    return sorted(path.glob(f"{PREFIX}*"))


def bad_row(path: Path) -> None:
    """A row that no node writes, in a table that SQLite finds sound."""
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO evidence VALUES ('r', 'active', x'00', 'd', x'ff')")
    db.close()


def no_audit(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("DROP TABLE audit")
    db.close()


@pytest.mark.parametrize("damage", [no_database, bad_pages, no_slots, bad_row])
def test_a_damaged_store_is_set_aside_and_the_node_starts(
    tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    first = ran_once(tmp_path)
    damage(tmp_path / "node.db")
    left = (tmp_path / "node.db").read_bytes()
    second = ran_once(tmp_path)
    (folder,) = aside(tmp_path)
    if damage in (no_slots, bad_row):
        with AuditReader(folder) as reader:
            assert reader.range[1] > 0, "what still holds can be read there"
    else:
        assert (folder / "node.db").read_bytes() == left, "byte for byte: it is evidence"
    damaged, begun = told(caplog)
    assert "is damaged" in damaged and str(folder) in damaged
    assert "begins" in begun and f"eyeflow audit verify --data-dir {folder}" in begun
    assert second["store"]["replaced_epoch"] == first["epoch"] < second["epoch"]  # type: ignore[index, operator]
    with AuditReader(tmp_path) as reader:
        bodies = [decode_record(one).body for one in reader.records()]
    assert [one.replaced_epoch for one in bodies if isinstance(one, StartBody)] == [first["epoch"]]
    caplog.clear()
    ran_once(tmp_path)
    assert not told(caplog) and aside(tmp_path) == [folder], "the new one is sound"


def test_a_store_of_a_newer_version_is_refused_and_stays(tmp_path: Path) -> None:
    ran_once(tmp_path)
    db = apsw.Connection(str(tmp_path / "node.db"))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(EyeflowError) as refused:
        ran_once(tmp_path)
    assert refused.value.code == "store_version" and "Install that version or newer" in refused.value.next_step
    assert not aside(tmp_path) and (tmp_path / "node.db").exists()


def test_a_disk_that_damages_one_after_the_other_does_not_fill_up(tmp_path: Path) -> None:
    for _ in range(KEPT_MAX + 2):
        ran_once(tmp_path)
        no_database(tmp_path / "node.db")
    ran_once(tmp_path)
    assert len(aside(tmp_path)) == KEPT_MAX


def test_a_clock_that_is_behind_does_not_cost_the_newest_one(tmp_path: Path) -> None:
    """A Raspberry Pi has no clock of its own: what it sets aside may have a time before all others."""
    later = [tmp_path / f"{PREFIX}{number}-29990101T000000.000000Z" for number in (9, 10)]
    for folder in later:
        folder.mkdir()
    ran_once(tmp_path)
    no_database(tmp_path / "node.db")
    ran_once(tmp_path)
    (newest,) = set(aside(tmp_path)) - set(later)
    assert newest.name.startswith(f"{PREFIX}11-") and (newest / "node.db").exists()
    assert later[1].exists() and not later[0].exists()


@pytest.mark.parametrize("marked", [True, False], ids=["read", "control"])
def test_the_newest_by_number_is_read_and_none_twice(tmp_path: Path, marked: bool) -> None:
    older, newer = folders = [tmp_path / f"{PREFIX}{name}" for name in ("9-2999", "10-2001")]
    for folder in folders:
        folder.mkdir()
        (folder / "node.db").touch()
    if marked:
        (newer / MARK).touch()
    assert unread(tmp_path) == (older if marked else newer)


def test_where_it_cannot_be_moved_the_damage_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran_once(tmp_path)
    no_database(tmp_path / "node.db")

    def refuses(data_dir: Path, now_us: int) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("eyeflow.node.daemon.set_aside", refuses)
    with pytest.raises(EyeflowError) as refused:
        ran_once(tmp_path)
    assert refused.value.code == "store_damaged" and "keep a copy" in refused.value.next_step


@pytest.mark.parametrize("damage", [no_audit, bad_row])
def test_programs_that_can_be_read_go_on_with_their_state_and_without_a_coordinator(
    tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    sim, state = counted(tmp_path)
    damage(tmp_path / "node.db")
    assert state_at_start(sim, tmp_path) == state
    assert "1 of its programs go on, 1 with their state" in told(caplog)[1]


def test_control_a_start_that_reads_nothing_of_it_has_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim, _state = counted(tmp_path)
    no_audit(tmp_path / "node.db")
    monkeypatch.setattr("eyeflow.node.daemon.salvaged", lambda folder: Batch())
    assert state_at_start(sim, tmp_path) is None


def counted(path: Path, killed_to: Path | None = None) -> tuple[NodeSim, object]:
    """Run a rule; return its state in the end. `killed_to`: there the store lies as after a kill, its log with it."""

    async def count() -> tuple[NodeSim, object]:
        sim = await NodeSim.started(path, COUNTER)
        for _ in range(3):
            await sim.send("t", temp=20.0)
        await sim.turns()
        state = sim.node.engine.core.rules[active("counter")].instance.state_bytes()
        if killed_to is not None:
            sim.store._file.db.execute("INSERT INTO evidence VALUES ('r', 'active', x'00', 'd', x'ff')")
            shutil.copytree(path, killed_to, ignore=shutil.ignore_patterns("*-shm"))
        await sim.stop()
        return sim, state

    return asyncio.run(count())


def state_at_start(sim: NodeSim, path: Path) -> object:
    """Start a node on `path`; return the state of the rule that runs there, None when it does not run."""
    found: list[object] = []

    async def again() -> None:
        stop = asyncio.Event()

        def on_ready(node: NodeRuntime) -> None:
            rule = node.engine.core.rules.get(active("counter"))
            found.append(rule and rule.instance.state_bytes())
            stop.set()

        config = dataclasses.replace(sim.config, data_dir=path)
        (path / "node.key").write_bytes(NODE_KEY.private_bytes())
        (path / "node.key").chmod(0o600)
        await run_node(config, stop=stop, on_ready=on_ready, make_world=lambda *ignored: World({}, dict(sim.drivers)))

    asyncio.run(again())
    return found[0]


def test_a_cut_between_the_moves_of_its_files_loses_nothing_of_what_its_log_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, data = tmp_path / "ran", tmp_path / "data"
    ran.mkdir()
    sim, state = counted(ran, data)
    assert (data / "node.db-wal").stat().st_size > 0
    real = Path.rename

    def cut(self: Path, target: Path) -> Path:
        if self.name == "node.db-wal":
            raise OSError(5, "the power is off")
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(EyeflowError):
        patch.setattr(Path, "rename", cut)
        state_at_start(sim, data)
    (folder,) = aside(data)
    assert (folder / "node.db").exists() and (data / "node.db-wal").exists() and not (data / "node.db").exists()
    assert state_at_start(sim, data) == state
    assert (folder / "node.db-wal").exists()


def test_a_cut_before_what_was_read_is_committed_is_made_good_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim, state = counted(tmp_path)
    bad_row(tmp_path / "node.db")
    earlier = [tmp_path / f"{PREFIX}{number}-20010101T000000.000000Z" for number in (1, 2)]
    for folder in earlier:
        folder.mkdir()

    def cut(self: Store, batch: Batch) -> Committed:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "commit", cut)
        state_at_start(sim, tmp_path)
    assert len(aside(tmp_path)) == 3, "none is removed before what could be read is durable"
    assert state_at_start(sim, tmp_path) == state
    *_, newest = aside(tmp_path)
    assert aside(tmp_path) == [earlier[1], newest] and (newest / MARK).exists()
    (tmp_path / "node.db").unlink()
    assert state_at_start(sim, tmp_path) is None, "what was read once is not read again: a later store is gone"


def test_a_store_that_has_run_takes_nothing_of_an_older_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the disk did not take the mark: its programs are newer."""
    sim, state = counted(tmp_path)
    bad_row(tmp_path / "node.db")
    assert state_at_start(sim, tmp_path) == state
    (folder,) = aside(tmp_path)
    (folder / MARK).unlink()
    caplog.clear()
    assert state_at_start(sim, tmp_path) == state and not told(caplog)


def test_control_nothing_is_made_up_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert salvaged(tmp_path) == Batch()
    (tmp_path / "node.db").write_bytes(b"x" * 9000)
    assert salvaged(tmp_path) == Batch()
