"""Which executions somebody asks for, of records that no index finds: those in a node's own store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eyeflow.audit.board_view import is_execution
from eyeflow.protocol.audit import Record, decode_record
from eyeflow.protocol.audit_bodies import BoardRecordBody, ExecutionBody
from eyeflow.svm.program import Program


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """What an execution must be; what is empty or None fits all. Times in microseconds; `outcome` by its number."""

    rule: str = ""
    key: str = ""
    outcome: int | None = None
    action: str = ""
    since_us: int | None = None
    until_us: int | None = None

    def fitting(self, data: bytes, find_program: Callable[[bytes], Program | None]) -> Record | None:
        """Return a stored record when it is an execution that fits. Raises AuditError for one that cannot be read.

        The names are searched in its bytes first, because decoding costs twenty times as much.
        """
        if any(word and word.encode() not in data for word in (self.rule, self.key)):
            return None
        record = decode_record(data)
        body = record.body
        if not is_execution(body) or not self._fits(record, body):
            return None
        if not self.action:
            return record
        return record if isinstance(body, ExecutionBody) and self._acted(body, find_program(body.program)) else None

    def _fits(self, record: Record, body: ExecutionBody | BoardRecordBody) -> bool:
        return (
            self.rule in ("", body.rule)
            and self.key in ("", getattr(body, "key", ""))
            and self.outcome in (None, body.outcome)
            and (self.since_us is None or record.time_us >= self.since_us)
            and (self.until_us is None or record.time_us < self.until_us)
        )

    def _acted(self, body: ExecutionBody, program: Program | None) -> bool:
        names = [site.capability for site in program.sites] if program is not None else []
        return any(site < len(names) and names[site] == self.action for site, _, _ in body.actions)
