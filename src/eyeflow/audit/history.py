"""The records of one chain as an explanation needs them, and what is said of a record's place in it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.protocol.audit import Record, decode_record, record_hash
from eyeflow.protocol.audit_bodies import CheckpointBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import key_fingerprint
from eyeflow.svm.container import SignedProgram
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.signing import check_signatures

Json = dict[str, Any]
AFTER_RECORDS_MAX = 5_000
"""Records behind the execution in which ends of its actions, and what vouches for it, are looked for."""


class Verdict(Enum):
    """Whether the program decides the same again."""

    SAME = "same"
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    """It cannot be told: the program is not here, or the records that made its memory."""


class MemoryFound(Enum):
    """What is known of the memory with which the program decided."""

    KNOWN = "known"
    """The records go back to where the program began."""
    NONE = "none"
    """The program keeps nothing between executions."""
    WARM = "warm"
    """It began empty, and saw the earlier executions that are still recorded."""
    EMPTY = "empty"
    """It began empty: no earlier execution is recorded."""


class History(Protocol):
    """The records of one chain, where they are kept. Its methods raise EyeflowError."""

    node: str
    epoch: int

    def record(self, seq: int) -> bytes | None:
        """Return one record, None when it is not here."""
        ...

    def of_rule(self, rule: str, after_seq: int, until_seq: int) -> Iterator[bytes]:
        """Yield records that follow `after_seq`, ascending: all of a rule and of none; others may be among them."""
        ...

    def begin(self, rule: str, until_seq: int, count: int) -> int:
        """Return the seq before about the last `count` records of a rule; 0 when all that are here are fewer."""
        ...

    def install(self, rule: str, program_id: bytes, until_seq: int) -> bytes | None:
        """Return the last record up to `until_seq` by which this program of a rule was installed, None without one."""
        ...

    def holes(self, after_seq: int, until_seq: int) -> list[int]:
        """Return the seqs of records before which others are missing."""
        ...

    def program(self, program_id: bytes) -> bytes | None:
        """Return a signed program, None when it is not here."""
        ...

    def signer(self, public_key: bytes) -> str:
        """Return what the key of a signer is called here, empty when it is not known."""
        ...

    def kept(self) -> KeptHead | None:
        """Return how far the coordinator has signed that it holds this chain."""
        ...


def signer_of(history: History, signed: SignedProgram, key: bytes) -> Json:
    """Return who signed a program with this key, and whether that signature holds."""
    try:
        holds = key in check_signatures(signed, {key})
    except (ProgramError, EyeflowError):
        holds = False
    return {"publicKey": key.hex(), "fingerprint": key_fingerprint(key), "name": history.signer(key), "holds": holds}


def place_of(history: History, record: Record, data: bytes) -> Json:
    """Return where the record stands in its chain, and who vouches for it."""
    following, kept = history.record(record.seq + 1), history.kept()
    digest = record_hash(data)
    earlier = history.record(record.seq - 1) if record.seq > 1 else None
    return {
        "prev": record.prev.hex(),
        "hash": digest.hex(),
        "prevFits": None if earlier is None else record_hash(earlier) == record.prev,
        "nextFits": None if following is None else decode_record(following).prev == digest,
        "checkpoint": _checkpoint(history, record.seq),
        "cosignedSeq": kept.seq if kept is not None and kept.epoch == record.epoch else 0,
        "cosigned": kept is not None and kept.epoch == record.epoch and kept.seq >= record.seq,
    }


def _checkpoint(history: History, seq: int) -> int:
    """Return the next record in which the node vouches for all before; 0 for none."""
    for number, data in enumerate(history.of_rule("", seq, 2**62)):
        record = decode_record(data)
        if isinstance(record.body, CheckpointBody):
            return record.seq
        if number == AFTER_RECORDS_MAX:
            break
    return 0
