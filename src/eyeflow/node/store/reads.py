"""What the open store answers without changing anything."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import apsw

from eyeflow.node.run_key import RunKey
from eyeflow.node.store.cursors import read_after
from eyeflow.node.store.file import StoreFile, storage_error
from eyeflow.node.store.programs import changes_slots, read_states
from eyeflow.node.store.types import Batch, StateRow
from eyeflow.protocol.audit import Record, decode_record
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.svm.container import decode
from eyeflow.svm.program import Program


class Reads:
    """Part of `Store`, on its thread."""

    _file: StoreFile
    _path: Path
    _states: dict[RunKey, StateRow] | None = None
    """The states as they were read, and as commits changed them since; None: they are to be read."""

    def audit_range(self, from_seq: int, limit: int) -> list[bytes]:
        """Return at most `limit` records with seq >= `from_seq`, ascending, as stored."""
        query = "SELECT record FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?"
        try:
            return [row[0] for row in self._file.db.execute(query, (from_seq, limit))]
        except apsw.Error as error:
            raise storage_error(error, self._path) from error

    def records_after(self, seq: int, bytes_max: int, records_max: int) -> tuple[int, list[bytes]]:
        """Return records that follow `seq` without a hole between them, as stored, and the seq of the first one.

        At least one, and else no more than fit in `bytes_max` bytes; (0, []) when there is none. Raises StorageError.
        """
        try:
            return read_after(self._file.db, seq, bytes_max, records_max)
        except apsw.Error as error:
            raise storage_error(error, self._path) from error

    def states(self) -> list[StateRow]:
        """Return the durable state of every slot, as the last commit left it. Raises StorageError."""
        if self._states is None:
            try:
                self._states = read_states(self._file.db)
            except apsw.Error as error:
                raise storage_error(error, self._path) from error
        return sorted(self._states.values(), key=lambda row: (row.key.rule, row.key.slot.value))

    def _states_changed(self, batch: Batch) -> None:
        """A batch was committed. The states of all rules are asked for each second: only what is new is read."""
        if self._states is not None:
            self._states.update((row.key, row) for row in batch.states)
            if changes_slots(batch):
                self._states = None

    def record(self, seq: int) -> Record | None:
        """Return the record with this seq, or None when it is not (or no longer) there."""
        found = self.audit_range(seq, 1)
        record = decode_record(found[0]) if found else None
        return record if record and record.seq == seq else None

    def executions(self, numbers: Collection[int]) -> dict[int, tuple[ExecutionBody, Program]]:
        """Return these execution records with their programs, as far as both are still here. Raises StorageError."""
        bodies = {seq: found.body for seq in sorted(numbers) if (found := self.record(seq)) is not None}
        programs = {body.program for body in bodies.values() if isinstance(body, ExecutionBody)}
        decoded = {one: decode(data).program for one in programs if (data := self.program(one))}
        return {
            seq: (body, decoded[body.program])
            for seq, body in bodies.items()
            if isinstance(body, ExecutionBody) and body.program in decoded
        }

    def program(self, program_id: bytes) -> bytes:
        """Return the bytes of a program, empty when the node needs it no more. Raises StorageError."""
        try:
            found = self._file.db.execute("SELECT program FROM programs WHERE program_id = ?", (program_id,)).get
        except apsw.Error as error:
            raise storage_error(error, self._path) from error
        return bytes(found or b"")
