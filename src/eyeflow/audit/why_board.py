"""What the record of an execution on a board can tell, and what it cannot: a board records no inputs and no memory."""

from __future__ import annotations

from eyeflow.audit.execution_id import ExecutionId
from eyeflow.audit.history import History, Json, MemoryFound, Verdict, place_of, signer_of
from eyeflow.audit.view import execution_entry
from eyeflow.protocol.audit import Record, decode_record
from eyeflow.protocol.audit_bodies import BoardRecordBody, InstallBody
from eyeflow.svm.container import SignedProgram, decode

NO_INPUTS = (
    "a board records neither what its rule read nor its memory, so the program cannot run again: which condition "
    "led here cannot be told"
)
VOUCHED = (
    "the board told outcome, trap, instruction, time and levels; its line has a check sum, and no key",
    "the gateway told which program it is and the names of the outputs, and put the record into this chain",
)
"""How far an execution of a board holds (docs/reference/audit.md, Boards)."""
CLOCK = "no host had told the board the time since it started: its time is not the time of day"


def explain_board(history: History, record: Record, body: BoardRecordBody, data: bytes) -> Json:
    """Return `Why` for an execution of a board: what is not recorded is empty, and the texts say so."""
    found = history.program(body.program) if body.program is not None else None
    signed = decode(found) if found else None
    program = signed.program if signed is not None else None
    entry = execution_entry(ExecutionId(record.node, record.epoch, record.seq), record.time_us, body, program)
    why = NO_INPUTS if signed is not None else f"{NO_INPUTS}. The program is not here either: lines are not known"
    return {
        "execution": entry,
        "program": _told_program(history, record, body, signed, entry["program"]),
        "memory": {"found": MemoryFound.EMPTY.value, "executions": 0, "unlike": 0, "note": "a board records none"},
        "stateBefore": None,
        "stateAfter": None,
        "path": [],
        "pathLeftOut": 0,
        "again": {"verdict": Verdict.UNKNOWN.value, "why": why, "recorded": [], "decided": []},
        "actions": [],
        "texts": {"wentIn": [], "state": [], "actions": [], "params": []},
        "chain": place_of(history, record, data),
        "vouched": [*VOUCHED, *([] if entry["board"]["clockTold"] else [CLOCK])],
    }


def _told_program(
    history: History, record: Record, body: BoardRecordBody, signed: SignedProgram | None, program_id: str
) -> Json:
    install = history.install(body.rule, body.program, record.seq) if body.program is not None else None
    told = decode_record(install) if install is not None else None
    installed = told.body if told is not None else None
    return {
        "id": program_id,
        "version": signed.program.version if signed is not None else "",
        "signers": [signer_of(history, signed, key) for key, _ in signed.signatures] if signed is not None else [],
        "params": dict(installed.params) if isinstance(installed, InstallBody) else {},
        "paramsKnown": installed is not None,
        "installSeq": told.seq if told is not None else 0,
        "deployment": installed.deployment if isinstance(installed, InstallBody) else "",
    }
