"""Alarms about the archive: a file that was damaged, and records of a node that are not what was kept."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import Chain
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing

LOOK_S = 60
"""How often it is looked whether an alarm is over."""


class ArchiveAlarms:
    """Alarms of the kind `archiveDamaged` in the store. Their subject is a node, or this machine with the file."""

    def __init__(self, store: ClusterStore, archive: Archive | None) -> None:
        self._store, self._archive = store, archive
        self.evidence: Path | None = None
        """Where a damaged archive is kept, if there is one; None until somebody says where."""
        self._looked_us = 0

    def look_soon(self) -> None:
        """Something happened: let the next look be one."""
        self._looked_us = 0

    async def look(self, now_us: int) -> None:
        """Look once in LOOK_S. Raises EyeflowError while store or archive refuse: the next look is soon then."""
        if 0 <= now_us - self._looked_us < LOOK_S * 1_000_000:
            return
        kept = await self._store.read(_open)
        ended = dict.fromkeys(await self._collected(kept), "the copy was collected anew, as far as the node has it")
        begun: list[str] = []
        if self.evidence is not None:
            place = f"{socket.gethostname()}:{self.evidence}"
            begun = [place] if self.evidence.exists() and place not in kept else []
            ended |= {one: why for one in kept if (why := self._why_file_is_no_more(one, place))}

        def step(writing: Writing) -> None:
            for subject, why in sorted(ended.items()):
                writing.end_alarm(AlarmKind.ARCHIVE_DAMAGED, subject, why, now_us)
            for subject in begun:
                evidence = "pages of it could not be read: the copies were begun anew, as far as the nodes have them"
                writing.raise_alarm(AlarmKind.ARCHIVE_DAMAGED, subject, evidence, now_us)

        if ended or begun:
            await self._store.write(step)
        self._looked_us = now_us

    def _why_file_is_no_more(self, subject: str, place: str) -> str:
        """Return why the alarm of a damaged file is over, empty while it lasts; `place` is that of this coordinator."""
        assert self.evidence is not None
        if subject == place:
            return "" if self.evidence.exists() else "the damaged file was removed"
        if _is_file(subject) and not self._store.is_shared:  # else it may be of another coordinator
            return "the machine or the folder of the coordinator has another name now"
        return ""

    async def _collected(self, subjects: Sequence[str]) -> list[str]:
        """Return the nodes whose copy has all again that it had."""
        if self._archive is None:
            return []
        nodes = [one for one in subjects if not _is_file(one)]
        return [node for node in nodes if is_collected_anew(await self._archive.copies(node))]


def is_collected_anew(copies: Sequence[Chain]) -> bool:
    """Say whether the newest copy of a node reaches as far as the one that was set aside for it.

    `copies` as `ArchiveReader.copies` gives them. How far the node has come meanwhile does not matter: it never rests.
    """
    if not copies or copies[0].branch or not copies[0].kept.seq:
        return False  # nothing came since it was set aside
    newest, *others = copies
    set_aside = next((one.kept.seq for one in others if one.kept.epoch == newest.kept.epoch), 0)
    return newest.kept.seq >= set_aside


def _is_file(subject: str) -> bool:
    return ":" in subject  # no node has such a name


def _open(reading: Reading) -> list[str]:
    return [one.subject for one in reading.open_alarms() if one.kind is AlarmKind.ARCHIVE_DAMAGED]
