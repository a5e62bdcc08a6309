"""Old images, clones and forks of nodes: each is quarantined with its evidence, and nothing of it is merged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eyeflow.coordinator import nodes as nodes_module
from eyeflow.coordinator.archive import chain as chain_module
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.session import CoordinatorSession, Phase
from unit.coordinator.disks import Disk, Talk
from unit.node.store.stores import KEY

FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
COPIES = 200 if FULL else 20
"""Of images, and of clones."""

Case = Callable[["Field", Random], None]


class Field:
    """One node of a coordinator: `disk` is the one that it began with."""

    def __init__(self, api: Any, directory: Path, name: str, random: Random) -> None:
        self.api, self.directory, self.name, self.random = api, directory / name, name, random
        api.do(lambda writing: writing.register_node(name, KEY.public_key, 1))
        api.do(lambda writing: api.hub.nodes._renew_manifests(writing, [name], 1))
        api.run(lambda: api.hub.nodes.link_opens(name))
        self.images = 0
        self.disk = Disk(self.directory / "disk", name)
        self.disk.start(random)
        self.disk.run(random.randrange(2, 20), random)
        self.dials(self.disk)

    def dials(self, disk: Disk, bundles_max: int = 1 << 20) -> None:
        self.api.clock.pass_s(5)
        address = f"192.0.2.{1 if disk is self.disk else 2}"
        self.api.run(lambda: Talk(self.api, disk, address).speak(bundles_max))

    def image(self) -> Disk:
        self.images += 1
        return self.disk.image(self.directory / f"image-{self.images}")

    def kept(self) -> list[bytes]:
        """Return what the archive merged."""
        copy = self.api.hub.copies.by_node.get(self.name)
        if copy is None:
            return []
        rows = self.api.run(lambda: self.api.archive.page(self.name, copy.kept.epoch, 0, 10_000))
        return [row.data for row in rows]

    @property
    def findings(self) -> list[dict[str, Any]]:
        return list(self.api.ask("GET", f"/api/nodes/{self.name}").json()["findings"])

    @property
    def is_in_doubt(self) -> bool:
        return bool(self.api.hub.nodes.is_doubtful(self.name))


def restored(field: Field, random: Random) -> list[Disk]:
    """The node runs on after its image was made, and is heard; then the image takes its place.

    As `cloned`, it returns the disks of which the archive may hold the start: nothing of the image is.
    """
    image = field.image()
    field.disk.run(random.randrange(1, 30), random)
    field.dials(field.disk, bundles_max=random.choice([0, 1, 2, 100]))  # its head is heard; its records maybe not
    image.start(random)
    image.run(random.randrange(0, 60), random)
    field.dials(image)
    return [field.disk]


def cloned(field: Field, random: Random) -> list[Disk]:
    """A clone runs beside the node, and both are heard in turn."""
    clone = field.image()
    clone.start(random)
    for disk in (field.disk, clone, field.disk):
        disk.run(random.randrange(0, 30), random)
        field.dials(disk, bundles_max=random.choice([0, 1, 100]))
    return [field.disk, clone]


def restarted(field: Field, random: Random) -> list[Disk]:
    """The control: nothing but restarts, cut links, and cursors that are lost."""
    for _ in range(3):
        field.disk.start(random)
        field.disk.run(random.randrange(0, 30), random)
        if random.random() < 0.5:
            field.disk.forget_cursors()
        field.dials(field.disk, bundles_max=random.choice([0, 1, 100]))
        field.dials(field.disk)
    return [field.disk]


def played(api: Any, directory: Path, case: Callable[[Field, Random], list[Disk]], count: int) -> list[str]:
    """Play a case; return for each of `count` nodes what became of it."""
    found = []
    for number in range(count):
        random = Random(f"{case.__name__}-{number}")
        field = Field(api, directory, f"{case.__name__}-{number}", random)
        disks = case(field, random)
        kept = field.kept()
        is_one = any(disk.records()[: len(kept)] == kept for disk in disks)
        found.append("merged" if not is_one else "quarantined" if field.is_in_doubt else "trusted")
        shutil.rmtree(field.directory)
    return found


@pytest.mark.parametrize("case", [restored, cloned])
def test_each_old_image_and_each_clone_is_quarantined_and_none_is_merged(api: Any, tmp_path: Path, case: Any) -> None:
    found = played(api, tmp_path, case, COPIES)
    assert found == ["quarantined"] * COPIES, {one: found.count(one) for one in set(found)}


def test_control_a_node_that_restarts_or_lost_its_cursors_is_trusted(api: Any, tmp_path: Path) -> None:
    assert played(api, tmp_path, restarted, 10) == ["trusted"] * 10


@pytest.mark.parametrize("case", [restored, cloned])
def test_control_without_the_comparison_of_heads_copies_are_trusted(
    api: Any, tmp_path: Path, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "judge", lambda history, head: (history, []))
    monkeypatch.setattr(nodes_module, "recollected", lambda known, told: [])
    assert "trusted" in played(api, tmp_path, case, 10)


def test_control_without_the_comparison_of_hashes_a_copy_is_merged(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "judge", lambda history, head: (history, []))
    monkeypatch.setattr(nodes_module, "recollected", lambda known, told: [])
    monkeypatch.setattr(chain_module, "_check_place", lambda tail, record: None)
    assert "merged" in played(api, tmp_path, restored, 20)


def test_control_records_that_are_asked_for_before_the_node_has_said_what_it_holds_are_merged(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CoordinatorSession, "collects", property(lambda self: self.phase is Phase.READY))
    assert "merged" in played(api, tmp_path, restored, 20)


def test_the_evidence_names_the_record_both_hashes_and_who_dialled(api: Any, tmp_path: Path) -> None:
    random = Random(1)
    field = Field(api, tmp_path, "node-a", random)
    image = field.image()
    field.disk.run(5, random)
    field.dials(field.disk)
    known = len(field.disk.records())
    image.start(random)
    image.run(20, random)
    field.dials(image)
    (finding,) = field.findings
    assert (finding["kind"], finding["blocks"]) == ("forked", True)
    proof = finding["proof"]
    here, there = field.disk.records()[known - 1], image.records()[known - 1]
    assert proof["seq"] == known
    assert (proof["knownHash"], proof["toldHash"]) == (record_hash(here).hex(), record_hash(there).hex())
    links = [(one["process"], one["address"]) for one in proof["links"]]
    assert links[-2:] == [(field.disk.boot.hex(), "192.0.2.1"), (image.boot.hex(), "192.0.2.2")]
    assert proof["links"][-1]["timeUs"] > proof["links"][-2]["timeUs"]
    (alarm,) = api.ask("GET", "/api/alarms?node=node-a&open=true").json()["alarms"]
    assert alarm["kind"] == "nodeInDoubt" and str(known) in alarm["evidence"]


def test_a_person_sets_a_node_aside_and_another_lets_it_in_again(api: Any, tmp_path: Path) -> None:
    random = Random(2)
    field = Field(api, tmp_path, "node-a", random)
    before = field.kept()
    for role in ("read", "deploy"):
        assert api.ask("POST", "/api/nodes/node-a/quarantine", role, json={}).status_code == 403
    assert api.ask("POST", "/api/nodes/nobody/quarantine", json={}).status_code == 404
    shown = api.ask("POST", "/api/nodes/node-a/quarantine", json={"reason": "the cabinet was open"}).json()
    assert shown["inDoubt"] and [one["kind"] for one in shown["findings"]] == ["quarantined"]
    assert shown["findings"][0]["evidence"] == "admin set it aside: the cabinet was open"
    (alarm,) = api.ask("GET", "/api/alarms?node=node-a&open=true").json()["alarms"]
    assert alarm["kind"] == "nodeInDoubt" and "the cabinet was open" in alarm["evidence"]
    (entry,) = api.look(lambda reading: reading.log_entries(1))
    assert (entry.actor, entry.action, entry.subject) == ("admin", "quarantine_node", "node-a")
    field.disk.run(9, random)
    field.dials(field.disk)
    api.tick()
    assert field.kept() == before, "nothing of it is collected"
    assert field.is_in_doubt, "what it tells of itself ends no quarantine"
    assert api.ask("POST", "/api/nodes/node-a/accept").json()["findings"] == []
    field.dials(field.disk)
    assert field.kept() == field.disk.records(), "its copy goes on where it ended"
    assert api.ask("GET", "/api/nodes/node-a/copies").json()["copies"][0]["branch"] == 0
    assert api.ask("GET", "/api/alarms?node=node-a&open=true").json()["alarms"] == []


def test_what_was_kept_of_a_node_in_doubt_stays_readable_as_a_branch(api: Any, tmp_path: Path) -> None:
    random = Random(3)
    field = Field(api, tmp_path, "node-a", random)
    image = field.image()
    field.disk.run(5, random)
    field.dials(field.disk)
    image.start(random)
    image.run(20, random)
    field.dials(image)
    api.ask("POST", "/api/nodes/node-a/accept")
    field.dials(image)
    assert field.kept() == image.records()
    chains = api.ask("GET", "/api/nodes/node-a/copies").json()["copies"]
    assert [(one["branch"], one["seq"]) for one in chains] == [
        (0, len(image.records())),
        (1, len(field.disk.records())),
    ]
    old = api.ask("GET", "/api/nodes/node-a/records?branch=1&limit=1000").json()
    new = api.ask("GET", "/api/nodes/node-a/records?limit=1000").json()
    assert (old["branch"], new["branch"]) == (1, 0)
    assert len(old["records"]) == len(field.disk.records()) and len(new["records"]) == len(image.records())
    assert old["records"][-1] != new["records"][len(old["records"]) - 1]
    assert api.ask("GET", "/api/nodes/node-a/records?branch=2").json()["records"] == []
