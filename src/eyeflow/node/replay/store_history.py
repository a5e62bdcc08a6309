"""The records of a node's store, for who explains one of them: read where they are, while the node runs or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from eyeflow.node.store.cursors import COORDINATOR
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import UNRECORDED, InstallBody
from eyeflow.protocol.collecting import KeptHead


class StoreHistory:
    """Satisfies `eyeflow.audit.why.History`. `signer` names the key of a signer, empty where it is not known.

    `programs` are signed ones by id, for those that no slot holds any more.
    No index finds the records of a rule here: its name is searched in their bytes. The store is bounded.
    """

    def __init__(
        self,
        reader: AuditReader,
        signer: Callable[[bytes], str],
        programs: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        self.node, self.epoch = reader.node, reader.epoch
        self._reader, self._signer, self._programs = reader, signer, programs

    def record(self, seq: int) -> bytes | None:
        """Return one record."""
        return next(self._reader.records(seq, seq), None) if seq >= self._reader.range[0] else None

    def of_rule(self, rule: str, after_seq: int, until_seq: int) -> Iterator[bytes]:
        """Yield records that may be of a rule or of none."""
        words = (rule.encode(), UNRECORDED.encode())
        for data in self._reader.records(after_seq + 1, until_seq):
            if any(word in data for word in words):
                yield data

    def begin(self, rule: str, until_seq: int, count: int) -> int:
        """Return 0: all that are here are read."""
        return 0

    def install(self, rule: str, program_id: bytes, until_seq: int) -> bytes | None:
        """Return the record by which a program was installed last."""
        at = until_seq + 1
        while page := self._reader.before(at):
            at -= len(page)
            for data in page:
                if program_id in data and rule.encode() in data:
                    body = decode_record(data).body
                    if isinstance(body, InstallBody) and (body.rule, body.program) == (rule, program_id):
                        return data
        return None

    def holes(self, after_seq: int, until_seq: int) -> list[int]:
        """Return where records are missing: at the begin only."""
        first = self._reader.range[0]
        return [first] if after_seq + 1 < first <= until_seq else []

    def program(self, program_id: bytes) -> bytes | None:
        """Return a signed program that a slot holds, or that came along."""
        return self._reader.program(program_id) or self._programs.get(program_id)

    def signer(self, public_key: bytes) -> str:
        """Return what a signer's key is called."""
        return self._signer(public_key)

    def kept(self) -> KeptHead | None:
        """Return what the coordinator held when the node wrote it down last."""
        return self._reader.kept().get(COORDINATOR)
