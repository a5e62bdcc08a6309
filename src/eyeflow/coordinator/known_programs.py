"""The programs of executions, decoded once: with them a record has names and lines in place of numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import Acting
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import ClusterStore
from eyeflow.svm.container import decode
from eyeflow.svm.program import Program

PROGRAMS_MAX = 256
"""Decoded programs in memory; the one that was asked for longest ago goes."""


NAMES_MAX = 4_096
"""Programs of which it is known in memory what they ask for."""
ACTING_AT_ONCE, ACTING_MAX = 1_000, 100_000
"""Ways in which executions acted, of one look at the archive and of one search: programs with the sites that acted."""


class KnownPrograms:
    """The programs of `store`, by their ids (32 bytes). A program never changes, so what is known stays true."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._programs: OrderedDict[bytes, Program] = OrderedDict()
        self._names: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
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
        """Return what records are found by that did this: a capability, or the name of an event that was emitted.

        Raises Problem when executions acted in more ways than a search looks through.
        """
        found: set[int] = set()
        after = looked = 0
        while more := await archive.look(lambda reader, after=after: reader.acting(after, ACTING_AT_ONCE)):  # type: ignore[misc]
            await self._name(one.program for one in more)
            found.update(one.number for one in more if action in self._named(one))
            after, looked = more[-1].number, looked + len(more)
            if len(more) < ACTING_AT_ONCE:
                break
            if looked >= ACTING_MAX:
                detail = f"Executions acted in more than {ACTING_MAX} ways: that is too many to look for an action."
                raise Problem("limit_reached", detail, "ask by node, rule, key or time, without an action")
        return frozenset(found)

    async def _name(self, program_ids: Iterable[bytes]) -> None:
        """Learn what the sites of these programs are called, as far as the programs are here."""
        wanted = set(program_ids)
        for known in wanted & self._names.keys():
            self._names.move_to_end(known)
        for program_id in wanted - self._names.keys():
            for known, program in (await self.found([program_id])).items():
                self._names[known] = tuple(site.capability for site in program.sites)
        while len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    def _named(self, acting: Acting) -> set[str]:
        names = self._names.get(acting.program, ())
        return {names[site] for site in acting.sites if site < len(names)}
