"""A store that is damaged is set aside whole, and said; the node starts with a new one. One that is sound never is."""

from __future__ import annotations

import asyncio
import logging
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
from eyeflow.node.store.quarantine import KEPT_MAX, PREFIX, salvaged
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.types import Batch
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
    (damaged,) = told(caplog)
    assert "is damaged" in damaged and str(folder) in damaged and "eyeflow audit verify --data-dir" in damaged
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
    async def count() -> tuple[NodeSim, object]:
        sim = await NodeSim.started(tmp_path, COUNTER)
        for _ in range(3):
            await sim.send("t", temp=20.0)
        await sim.turns()
        state = sim.node.engine.core.rules[active("counter")].instance.state_bytes()
        await sim.stop()
        return sim, state

    sim, state = asyncio.run(count())
    damage(tmp_path / "node.db")
    found: dict[str, object] = {}

    async def again() -> None:
        stop = asyncio.Event()

        def on_ready(node: NodeRuntime) -> None:
            rule = node.engine.core.rules[active("counter")]
            found.update(state=rule.instance.state_bytes(), start=node.writer.store.record(1))
            stop.set()

        (tmp_path / "node.key").write_bytes(NODE_KEY.private_bytes())
        (tmp_path / "node.key").chmod(0o600)
        await run_node(sim.config, stop=stop, on_ready=on_ready, make_world=world)

    def world(*ignored: object) -> World:
        return World({}, dict(sim.drivers))

    asyncio.run(again())
    assert found["state"] == state
    (damaged,) = told(caplog)
    assert "1 of its programs go on, 1 with their state" in damaged


def test_control_nothing_is_made_up_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert salvaged(tmp_path) == Batch()
    (tmp_path / "node.db").write_bytes(b"x" * 9000)
    assert salvaged(tmp_path) == Batch()
