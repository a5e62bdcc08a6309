"""The alarm `archiveDamaged`: it lasts until the copy has all again that it had, and no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.archive.checking import Spoiled
from eyeflow.coordinator.archive.database import Chain as Kept
from eyeflow.coordinator.archive_alarms import LOOK_S, is_collected_anew
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import Identity
from unit.coordinator.archive.chains import EPOCH, NODE_KEY, Chain

EVIDENCE = "the kept record 3 of node-a cannot be read"


class Damaged:
    """A coordinator with a copy of node-a, of which a record is not what was kept."""

    def __init__(self, api: Any) -> None:
        self.api = api
        api.join("node-a", Identity(bytes([1]) * 32))
        self.chain = Chain(Owner("node-a", EPOCH, NODE_KEY.public_key)).run(40)
        self.collects(1, 20)

    def collects(self, first: int, last: int) -> None:
        self.api.runner.run(self.api.archive.append(self.chain.bundle(first, last)))

    def finds(self) -> None:
        self.api.run(lambda: self.api.hub._copy_is_spoiled(Spoiled("node-a", EPOCH, EVIDENCE), self.api.clock()))

    def looks(self) -> list[str]:
        """Return the subjects of the alarms that last."""
        self.api.clock.pass_s(LOOK_S)
        self.api.tick()
        assert self.api.hub.trouble == ""
        return [one.subject for one in self.api.look(lambda reading: reading.open_alarms())]

    def branches(self) -> list[int]:
        return [one.branch for one in self.api.runner.run(self.api.archive.copies("node-a"))]


@pytest.fixture
def damaged(api: Any) -> Damaged:
    return Damaged(api)


def test_it_lasts_until_all_is_collected_again_whatever_the_coordinator_remembers(damaged: Damaged) -> None:
    """One that starts in between knows of no record that is still to come; and a node has always some more."""
    copies = damaged.api.hub.copies
    damaged.finds()
    assert damaged.looks() == ["node-a"] and damaged.branches() == [1]
    damaged.collects(1, 12)
    damaged.api.runner.run(copies.started())
    assert not copies.by_node["node-a"].behind, "as after a start"
    assert damaged.looks() == ["node-a"]
    damaged.collects(13, 25)
    copies.told("node-a", EPOCH, 40)
    assert copies.by_node["node-a"].behind and damaged.looks() == []


def test_it_ends_while_a_certificate_cannot_be_read(damaged: Damaged) -> None:
    def fails() -> Any:
        raise EyeflowError("cannot read the certificate", code="tls_file")

    damaged.api.hub.alarms.find = fails
    damaged.finds()
    assert damaged.looks() == ["node-a"]
    damaged.collects(1, 20)
    assert damaged.looks() == []


def test_there_is_none_of_a_node_that_is_not_in_the_cluster(damaged: Damaged) -> None:
    """Its records stay in the archive, and nothing is collected that could end the alarm."""
    assert damaged.api.ask("DELETE", "/api/nodes/node-a").status_code == 204
    damaged.finds()
    assert damaged.looks() == [] and damaged.branches() == [1]


def test_nothing_is_asked_of_the_node_while_its_copy_is_set_aside(damaged: Damaged) -> None:
    done: list[str] = []

    class Open:
        node = "node-a"

        def offer(self, offer: object) -> None: ...

        def stop_collecting(self) -> None:
            done.append(f"stopped, branches {damaged.api.archive._reader.copies('node-a')[0].branch}")

        def close(self, code: str, reason: str) -> None:
            done.append(f"closed, branches {damaged.api.archive._reader.copies('node-a')[0].branch}")

    damaged.api.hub.links["node-a"] = Open()
    damaged.finds()
    damaged.api.hub.links.clear()
    assert done == ["stopped, branches 0", "closed, branches 1"]


def test_a_damaged_file_is_one_until_it_is_removed_or_its_machine_has_another_name(
    damaged: Damaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.db.damaged"
    path.write_bytes(b"damaged!")
    damaged.api.hub.archive_alarms.evidence = path
    for name in ("plant", "plant-2"):
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        assert damaged.looks() == [f"{name}:{path}"]
    path.unlink()
    assert damaged.looks() == []


def test_in_a_shared_store_the_file_of_another_coordinator_is_its_own(
    damaged: Damaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "elsewhere:/var/lib/eyeflow/archive.db.damaged"
    kind, write = AlarmKind.ARCHIVE_DAMAGED, damaged.api.hub.store.write
    damaged.api.run(lambda: write(lambda writing: writing.raise_alarm(kind, other, EVIDENCE, 1)))
    alarms = damaged.api.hub.archive_alarms
    alarms.evidence = tmp_path / "archive.db.damaged"
    monkeypatch.setattr(damaged.api.hub.store, "is_shared", True)
    damaged.api.run(lambda: alarms.look(damaged.api.clock()))
    assert [one.subject for one in damaged.api.look(lambda reading: reading.open_alarms())] == [other]


def kept(epoch: int, branch: int, seq: int) -> Kept:
    return Kept("node-a", KeptHead(epoch, seq), branch=branch)


@pytest.mark.parametrize(
    ("copies", "is_over"),
    [
        ([], False),
        ([kept(1, 1, 20)], False),
        ([kept(1, 0, 19), kept(1, 1, 20)], False),
        ([kept(1, 0, 20), kept(1, 1, 20)], True),
        ([kept(1, 0, 30), kept(1, 2, 25), kept(1, 1, 90)], True),
        ([kept(2, 0, 1), kept(1, 1, 20)], True),
        ([kept(2, 0, 0), kept(1, 1, 20)], False),
        ([kept(1, 0, 5)], True),
    ],
)
def test_a_copy_is_collected_anew_when_it_reaches_as_far_as_what_was_set_aside(copies: Any, is_over: bool) -> None:
    """After a newer epoch, or an archive that was begun anew, nothing of what was set aside comes again."""
    assert is_collected_anew(copies) is is_over
