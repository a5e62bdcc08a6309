"""Why an execution decided as it did: its program runs again on what it saw, with the memory that it had then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eyeflow.audit.board_view import is_execution
from eyeflow.audit.execution_id import ExecutionId
from eyeflow.audit.history import AFTER_RECORDS_MAX, History, Json, MemoryFound, Verdict, place_of, signer_of
from eyeflow.audit.memory import Known, RuleMemory, SameAnswers, Track, Unanswered, is_same, run_again
from eyeflow.audit.path import Path
from eyeflow.audit.traces import texts_of
from eyeflow.audit.view import UNFIT, at_line, call, execution_entry, finite, word_of
from eyeflow.audit.why_board import explain_board
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.word import literal
from eyeflow.protocol.audit import Record, decode_record
from eyeflow.protocol.audit_bodies import (
    ActionOutcome,
    ActionResultBody,
    BoardRecordBody,
    Disposition,
    ExecutionBody,
    InstallBody,
)
from eyeflow.svm.arguments import readable
from eyeflow.svm.container import SignedProgram, decode
from eyeflow.svm.execution import Action, Execution, Outcome, TrapInfo
from eyeflow.svm.instance import Instance
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.layout import state_slots
from eyeflow.svm.program import Program
from eyeflow.svm.verify import verify

PAGE_RECORDS = 500
FORGETFUL_RECORDS = 100
"""Records of the rule that are read before an execution whose program remembers nothing between executions."""


@dataclass(slots=True)
class _Before:
    """What the records before the execution tell."""

    memory: RuleMemory
    found: MemoryFound
    track: Track | None = None
    install: tuple[int, InstallBody] | None = None
    executions: int = 0
    unlike: int = 0
    since_seq: int = 0
    is_cut: bool = False


def explain(history: History, seq: int, records_max: int, goes_on: Callable[[], bool] = lambda: True) -> Json:
    """Return why the execution with this seq decided as it did: `Why` of the REST API.

    At most `records_max` records of the rule are run again, and none when `goes_on` says no. Raises EyeflowError.
    """
    data, record, body = find_execution(history, seq)
    if isinstance(body, BoardRecordBody):
        return explain_board(history, record, body, data)
    signed = _program(history, body.program)
    program = signed.program if signed is not None else None
    before = _before(history, record, body, program, records_max, goes_on)
    entry = execution_entry(ExecutionId(record.node, record.epoch, seq), record.time_us, body, program)
    found: Json = {
        "execution": entry,
        "program": _told_program(history, body, signed, before),
        "memory": _told_memory(before),
        **_again_if_it_fits(body, program, before),
        "actions": _ends(history, entry["actions"], seq, body),
        "chain": place_of(history, record, data),
        "vouched": [],
    }
    return finite(found | {"texts": _texts(found)})  # type: ignore[no-any-return]


def find_execution(history: History, seq: int) -> tuple[bytes, Record, ExecutionBody | BoardRecordBody]:
    """Return the execution with this seq: its bytes, its record, and what that says. Raises EyeflowError."""
    data = history.record(seq)
    record = decode_record(data) if data is not None else None
    if data is None or record is None or not is_execution(record.body):
        raise _no_execution(history, seq, record)
    return data, record, record.body


def _texts(found: Json) -> Json:
    """Return values as a rule writes them: in JSON, a pin or a duration is a text like any other."""
    one, before, after = found["execution"], found["stateBefore"], found["stateAfter"]
    reads = [
        f"{call(read)} = {'failed' if read['value'] is None else literal(read['value'])}{at_line(read)}"
        for read in one["reads"]
    ]
    state = [
        f"{name} = {literal(value)}" + ("" if after[name] == value else f" -> {literal(after[name])}")
        for name, value in (before or {}).items()
    ]
    return {
        "wentIn": [*(f"{name} = {literal(value)}" for name, value in one["inputs"].items()), *reads],
        "state": state,
        "actions": [f"{call(action)}{at_line(action)}" for action in found["actions"]],
        "params": [f"{name} = {literal(value)}" for name, value in found["program"]["params"].items()],
    }


def _no_execution(history: History, seq: int, record: Record | None) -> EyeflowError:
    what = f"record {seq} of {history.node}, epoch {history.epoch}"
    message = f"{what} is not here" if record is None else f"{what} is no execution: {record.kind.name.lower()}"
    cause = "it never was, or the oldest records went because of a bound" if record is None else ""
    return EyeflowError(
        message,
        cause=cause,
        next_step="`eyeflow executions` lists what is here",
        code="execution_not_found",
        exit_code=ExitCode.PROBLEMS,
    )


def _program(history: History, program_id: bytes) -> SignedProgram | None:
    data = history.program(program_id)
    return decode(data) if data else None


# --- the memory that it had ---


def _before(
    history: History,
    record: Record,
    body: ExecutionBody,
    program: Program | None,
    records_max: int,
    goes_on: Callable[[], bool],
) -> _Before:
    """Run the records of the rule before the execution again."""

    def find(program_id: bytes) -> Known | None:
        found = _program(history, program_id)
        install = _install(history, body.rule, program_id, record.seq)
        params = dict(install[1].params) if install is not None else None
        return Known(verify(found.program), params) if found is not None else None

    remembers = program is None or bool(state_slots(program))
    before = _Before(RuleMemory(body.rule, find), MemoryFound.EMPTY)
    before.install = _install(history, body.rule, body.program, record.seq)
    count = records_max if remembers else min(records_max, FORGETFUL_RECORDS)
    before.since_seq = history.begin(body.rule, record.seq - 1, count)
    holes = iter([*history.holes(before.since_seq, record.seq), record.seq + 1])
    hole = next(holes)
    for data in history.of_rule(body.rule, before.since_seq, record.seq - 1):
        if not goes_on():
            before.is_cut = True
            before.memory.forget()
            break
        earlier = decode_record(data)
        while hole <= earlier.seq:
            before.memory.forget()
            hole = next(holes)
        _take(before, earlier, body)
    if hole <= record.seq:
        before.memory.forget()
    before.track = before.memory.track(body)
    before.found = _found(before, remembers)
    return before


def _install(history: History, rule: str, program_id: bytes, until_seq: int) -> tuple[int, InstallBody] | None:
    data = history.install(rule, program_id, until_seq)
    record = decode_record(data) if data is not None else None
    return (record.seq, record.body) if record is not None and isinstance(record.body, InstallBody) else None


def _take(before: _Before, record: Record, explained: ExecutionBody) -> None:
    body = record.body
    if not isinstance(body, ExecutionBody):
        before.memory.change(body)
        return
    if body.rule != explained.rule:
        return
    track = before.memory.track(body)
    if track is None:
        return
    program = track.instance.program
    try:
        again = run_again(track.instance, body.trigger, body.inputs, body, SameAnswers(body))
        is_unlike = again is None or not is_same(program, again, program, body)
    except UNFIT:
        before.memory.forget()
        is_unlike = True
    if body.slot == explained.slot:
        before.executions += 1
        before.unlike += is_unlike


def _found(before: _Before, remembers: bool) -> MemoryFound:
    if not remembers:
        return MemoryFound.NONE
    if before.track is not None and before.track.is_exact:
        return MemoryFound.KNOWN
    return MemoryFound.WARM if before.executions else MemoryFound.EMPTY


def _told_memory(before: _Before) -> Json:
    notes = {
        MemoryFound.KNOWN: "the records go back to where the program began",
        MemoryFound.NONE: "the program keeps nothing between executions",
        MemoryFound.WARM: "earlier records are gone, so it began empty, and saw the executions that are left",
        MemoryFound.EMPTY: "earlier records are gone, so it began empty",
    }
    note = notes[before.found]
    if before.track is None:
        note = "the program is not here, so its memory is not known"
    elif before.found in (MemoryFound.WARM, MemoryFound.EMPTY) and (before.is_cut or before.since_seq):
        note = "there are more records than are run again at once, so it began empty, and saw only the last of them"
    return {
        "found": before.found.value,
        "executions": before.executions,
        "unlike": before.unlike,
        "note": note,
    }


# --- the decision, again ---


def _again_if_it_fits(body: ExecutionBody, program: Program | None, before: _Before) -> Json:
    name = body.program.hex()[:12]
    try:
        if program is not None and before.track is not None:
            return _again(body, program, before.track.instance, before)
        recorded = list(texts_of(program, _recorded(body))) if program is not None else []
        text = f"the program {name} is not here any more, so it cannot run again"
    except UNFIT:
        recorded, text = [], f"its record does not fit the program {name}, so it cannot run again"
    verdict = _told(Verdict.UNKNOWN, text, recorded, [])
    return {"stateBefore": None, "stateAfter": None, "path": [], "pathLeftOut": 0, "again": verdict}


def _again(body: ExecutionBody, program: Program, old: Instance, before: _Before) -> Json:
    """Run the execution again by the reference machine, which tells its way."""
    recorded, path = list(texts_of(program, _recorded(body))), Path(program)
    machine = Interpreter(old.verified, path.trace, path.watch)
    instance = Instance(old.verified, state=old.state, machine=machine)
    instance.params, instance.last_time_us = list(old.params), old.last_time_us
    state_before = instance.state_values()
    try:
        ran: Execution | None = instance.step(
            body.trigger, body.inputs, body.event_time_us, body.utc_offset_us, SameAnswers(body)
        )
    except Unanswered:
        ran = None
    return {
        "stateBefore": _readable_state(program, state_before),
        "stateAfter": _readable_state(program, instance.state_values()),
        "path": path.steps,
        "pathLeftOut": path.left_out,
        "again": _verdict(body, program, before, ran, recorded),
    }


def _recorded(body: ExecutionBody) -> Execution:
    actions = [Action(site, args) for site, args, _ in body.actions]
    return Execution(Outcome(body.outcome), 0, actions, trap=None if body.trap is None else TrapInfo(*body.trap))


def _verdict(
    body: ExecutionBody, program: Program, before: _Before, ran: Execution | None, recorded: list[str]
) -> Json:
    decided = list(texts_of(program, ran)) if ran is not None else []
    same = ran is not None and ran.outcome == body.outcome and is_same(program, ran, program, body)
    if same:
        return _told(Verdict.SAME, "", recorded, decided)
    is_sure = before.found in (MemoryFound.KNOWN, MemoryFound.NONE)
    if is_sure and (before.install is not None or not program.params):
        why = "it reads what it did not read then" if ran is None else _first_difference(recorded, decided)
        return _told(Verdict.DIFFERS, why, recorded, decided)
    why = "it decides otherwise with the memory that could be made, but the records that made its memory are gone"
    if is_sure:
        why = "it decides otherwise with the usual parameters, but the record with its own is gone"
    return _told(Verdict.UNKNOWN, why, recorded, decided)


def _told(verdict: Verdict, why: str, recorded: list[str], decided: list[str]) -> Json:
    return {"verdict": verdict.value, "why": why, "recorded": recorded, "decided": decided}


def _first_difference(recorded: list[str], decided: list[str]) -> str:
    for number, (then, now) in enumerate(zip(recorded, decided, strict=False), start=1):
        if then != now:
            return f"decision {number} was {then}, and is {now} now"
    return f"it decided {len(recorded)} things, and decides {len(decided)} now"


def _readable_state(program: Program, values: Mapping[str, Any]) -> Json:
    """Return state variables for people: a duration as `2s`."""
    types = {variable.name: variable.type for variable in program.state}
    plain = {name for name, value in values.items() if isinstance(value, bool | int | float)}
    return {
        name: readable(types[name], value, program.pins) if name in plain else value for name, value in values.items()
    }


# --- program, actions, chain ---


def _told_program(history: History, body: ExecutionBody, signed: SignedProgram | None, before: _Before) -> Json:
    install_seq, install = before.install or (0, None)
    params: Json = {}
    if before.track is not None:
        instance = before.track.instance
        for param in instance.program.params:
            params[param.name] = readable(param.type, instance.params[param.slot], instance.program.pins)
    return {
        "id": body.program.hex(),
        "version": signed.program.version if signed is not None else "",
        "signers": [signer_of(history, signed, key) for key, _ in signed.signatures] if signed is not None else [],
        "params": params,
        "paramsKnown": install is not None,
        "installSeq": install_seq,
        "deployment": install.deployment if install is not None else "",
    }


def _ends(history: History, actions: list[Json], seq: int, body: ExecutionBody) -> list[Json]:
    """Return the actions with what became of each. One that was done at once has no record of its own."""
    found: dict[int, tuple[int, ActionResultBody]] = {}
    sent = [number for number, one in enumerate(body.actions) if one[2] == Disposition.SENT]
    for looked, data in enumerate(history.of_rule(body.rule, seq, 2**62) if sent else (), start=1):
        after = decode_record(data)
        if isinstance(after.body, ActionResultBody) and after.body.execution_seq == seq:
            found[after.body.index] = (after.seq, after.body)
        if len(found) == len(sent) or looked == AFTER_RECORDS_MAX:
            break
    return [one | _end(number in sent, found.get(number)) for number, one in enumerate(actions)]


def _end(is_sent: bool, found: tuple[int, ActionResultBody] | None) -> Json:
    if not is_sent:
        return {"result": "", "attempts": 0, "error": "", "resultSeq": 0}
    if found is None:
        return {"result": "done", "attempts": 1, "error": "", "resultSeq": 0}
    seq, body = found
    return {
        "result": word_of(ActionOutcome, body.result),
        "attempts": body.attempts,
        "error": body.error,
        "resultSeq": seq,
    }
