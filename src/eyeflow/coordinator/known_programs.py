"""The programs of executions, decoded once: with them a record has names and lines in place of numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.store.cluster_store import ClusterStore
from eyeflow.svm.container import decode
from eyeflow.svm.program import Program

PROGRAMS_MAX = 256
"""Decoded programs in memory; the one that was asked for longest ago goes."""


class KnownPrograms:
    """The programs of `store`, by their ids (32 bytes). A program never changes, so what is known stays true."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._programs: OrderedDict[bytes, Program] = OrderedDict()
        self._acting: list[tuple[int, bytes, tuple[int, ...]]] = []
        self._names: dict[bytes, tuple[str, ...]] = {}
        """What each site of a program is called."""

    async def found(self, program_ids: Iterable[bytes]) -> dict[bytes, Program]:
        """Return those that are here. Raises EyeflowError."""
        wanted = set(program_ids)
        for program_id in wanted - self._programs.keys():
            data = await self._store.read(lambda reading, one=program_id: reading.program_bytes(one.hex()))  # type: ignore[misc]
            if data:
                self._programs[program_id] = decode(data).program
        found = {one: self._programs[one] for one in wanted if one in self._programs}
        for one in found:
            self._programs.move_to_end(one)
        while len(self._programs) > PROGRAMS_MAX:
            self._programs.popitem(last=False)
        return found

    async def acts(self, archive: Archive, action: str) -> frozenset[int]:
        """Return what records are found by that did this: a capability, or the name of an event that was emitted."""
        newest = self._acting[-1][0] if self._acting else 0
        more = await archive.look(lambda reader: reader.acting(newest))
        self._acting += [(one.number, one.program, one.sites) for one in more]
        for program_id in {program for _, program, _ in self._acting} - self._names.keys():
            for known, program in (await self.found([program_id])).items():
                self._names[known] = tuple(site.capability for site in program.sites)
        return frozenset(number for number, program, sites in self._acting if action in self._named(program, sites))

    def _named(self, program: bytes, sites: Iterable[int]) -> set[str]:
        names = self._names.get(program, ())
        return {names[site] for site in sites if site < len(names)}
