"""An archive on a disk that loses its power: bundles come until it dies, and what the next start finds is looked at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive.chain import Owner, row_of
from eyeflow.coordinator.archive.database import Bounds, Bundle
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, DAMAGED_FILE, SqliteArchive
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.collecting import KeptHead, is_cosigned
from simulation.disk import Image, SimDisk
from simulation.loop import Process
from unit.coordinator.archive.chains import (
    COORDINATOR,
    COORDINATOR_KEY,
    EPOCH,
    NODE_KEY,
    START_US,
    Chain,
    cosign,
)

NODES = ("node-a", "node-b")
STEPS_MAX, WRITES_MAX = 10, 80
HOUR_US = 3_600_000_000
BOUNDS = Bounds(1 << 30, HOUR_US)
ALL = 1 << 40
COLUMNS_CHECKED = 20
"""Of so many records, the last ones, what they are filed as is compared, too."""


@dataclass
class Known:
    """What the archive has acknowledged of one node."""

    chain: Chain
    kept_seq: int = 0
    came_us: dict[int, int] = field(default_factory=dict)
    """When each record came that the copy may hold."""
    dropped_before_us: int = 0
    """Records that came earlier may be gone: the archive was told to drop them."""
    branches: int = 0
    sets_aside: bool = False
    """Whether the copy was being begun anew when the power went."""


class Lives:
    """One disk, and archive after archive on it."""

    def __init__(self, directory: Path, seed: int, fault: Callable[[SqliteArchive], None] = lambda one: None) -> None:
        self.directory, self.rng, self.fault = directory, Random(f"{seed} archive"), fault
        self.image: Image = {}
        self.now_us = START_US
        self.known = {name: Known(Chain(Owner(name, EPOCH, NODE_KEY.public_key))) for name in NODES}
        self.lives = self.deaths = 0

    def live(self) -> str:
        """Start, look, take bundles until the power goes; return what is wrong, empty for nothing."""
        self.lives += 1
        place, process = self.directory / str(self.lives), Process("archive")
        disk = SimDisk(place, process, self.rng, self.image)
        disk.dies_after = self.rng.randrange(WRITES_MAX)

        def died() -> None:
            self.image = disk.after_power_cut()

        process.on_death.append(died)
        try:
            return self._run(place, disk, process)
        finally:
            disk.unregister()
            shutil.rmtree(place)

    def _run(self, place: Path, disk: SimDisk, process: Process) -> str:
        archive = None
        try:
            archive = SqliteArchive(place / ARCHIVE_FILE, Machine(vfs=disk.vfs), cosign, BOUNDS)
            self.fault(archive)
            if (place / DAMAGED_FILE).exists():
                return "the disk is well, and the archive takes its file for damaged"
            for name in NODES:
                if problem := found_wrong(archive, self.known[name]):
                    return f"{name}: {problem}"
            for _ in range(self.rng.randrange(STEPS_MAX)):
                self._step(archive)
        except EyeflowError as error:
            if disk.dies_after >= 0:
                return f"the disk is well, and the archive is not: {error.message}: {error.cause}"
            self.deaths += 1
            process.end()  # before the connection goes, with its error
        finally:
            process.end()  # what closing still writes is lost
            if archive is not None:
                archive.close()
        return ""

    def _step(self, archive: SqliteArchive) -> None:
        self.now_us += self.rng.randrange(HOUR_US // 10)
        way = self.rng.random()
        if way < 0.85:
            self._append(archive)
        elif way < 0.97:
            for one in self.known.values():
                one.dropped_before_us = self.now_us - HOUR_US
            archive.tidy(self.now_us)
        else:
            self._set_aside(archive, self.rng.choice(NODES))

    def _append(self, archive: SqliteArchive) -> None:
        """Bring bundles of one node or both, as one commit; some come twice."""
        bundles = [self._bundle(self.known[name]) for name in self.rng.sample(NODES, self.rng.choice([1, 2]))]
        for bundle, outcome in zip(bundles, archive.append(bundles), strict=True):
            if outcome.kept is None:
                raise outcome.error or AssertionError("a bundle has no outcome")
            one = self.known[bundle.owner.node]
            one.kept_seq = outcome.kept.seq

    def _bundle(self, one: Known) -> Bundle:
        first = one.kept_seq + 1 - min(one.kept_seq, self.rng.choice([0, 0, 0, 5]))
        last = one.kept_seq + self.rng.choice([1, 1, 5, 40])
        one.chain.run(max(0, last - len(one.chain.records)))
        one.came_us |= dict.fromkeys(range(one.kept_seq + 1, last + 1), self.now_us)
        after = one.chain.head(one.kept_seq) if one.kept_seq else KeptHead(0)
        return replace(one.chain.bundle(first, last), now_us=self.now_us, after=after)

    def _set_aside(self, archive: SqliteArchive, name: str) -> None:
        one = self.known[name]
        if not one.kept_seq:
            return
        one.sets_aside = True
        archive.set_aside(name)
        begin_anew(one)


def begin_anew(one: Known) -> None:
    one.kept_seq, one.came_us, one.branches, one.sets_aside = 0, {}, one.branches + 1, False


def found_wrong(archive: SqliteArchive, known: Known) -> str:
    """Compare what a start finds of a node with what was acknowledged before the power went."""
    node, epoch = known.chain.owner.node, known.chain.owner.epoch
    branches = sum(one.branch > 0 for one in archive.copies(node))
    if known.sets_aside and branches == known.branches + 1:
        begin_anew(known)
    known.sets_aside = False
    if branches != known.branches:
        return f"{known.branches} copies were set aside, and there are {branches}"
    chain, rows = archive.chain(node, epoch), archive.page(node, epoch, 0, ALL)
    kept = chain.kept if chain else KeptHead(epoch)
    if kept.seq < known.kept_seq:
        return f"record {known.kept_seq} was acknowledged, and the copy ends at {kept.seq}"
    known.kept_seq = kept.seq
    here = {row.seq: row.data for row in rows}
    wanted = {seq for seq, came_us in known.came_us.items() if seq <= kept.seq and came_us >= known.dropped_before_us}
    if lost := sorted(wanted - here.keys()):
        return f"acknowledged records are gone: {lost[:3]} of {len(wanted)}"
    if changed := [seq for seq, data in here.items() if seq > kept.seq or data != known.chain.records[seq - 1]]:
        return f"records {changed[:3]} are not as the node sent them"
    if list(here) != list(range(kept.seq - len(here) + 1, kept.seq + 1)):
        return "the copy has a hole"
    if kept.seq and kept.hash != record_hash(known.chain.records[kept.seq - 1]):
        return "the head is not the hash of the last record"
    if kept.seq and not is_cosigned(kept, COORDINATOR, COORDINATOR_KEY.public_key, node):
        return "the head is not signed"
    for row in rows[-COLUMNS_CHECKED:]:
        if row != replace(row_of(decode_record(row.data), row.data), program=b"", sites=()):
            return f"record {row.seq} is filed as something else than it is"
    if (told := archive._db.execute("PRAGMA integrity_check").get) != "ok":
        return f"the file is not whole: {told}"
    return ""
