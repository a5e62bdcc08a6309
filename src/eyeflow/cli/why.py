"""The command `eyeflow why`: explains one execution, and repeats it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli.console import JsonFlag, counted, finish, iso_time, note, paint, progress, say, say_json
from eyeflow.cli.files import read_program, usage_error
from eyeflow.cli.node_options import SETTING_FLAGS, ConfigOption
from eyeflow.cli.recorded import DataDirOption, open_store, unreadable_record, wants_store

if TYPE_CHECKING:
    from eyeflow.audit.execution_id import ExecutionId

Json = dict[str, Any]
SOURCE_BYTES_MAX = 1 << 20
ALL_RECORDS = 1 << 62
"""The store of a node is bounded, and whoever asks waits: all of it is read."""
EXIT_CODES = {"same": ExitCode.OK, "differs": ExitCode.PROBLEMS, "unknown": ExitCode.ENVIRONMENT}
WIDTH = 9


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.command("why", context_settings=SETTING_FLAGS)(why)


def why(
    context: typer.Context,
    execution: Annotated[
        str, typer.Argument(metavar="EXECUTION", help="Its id, as `eyeflow executions` shows it: NODE:EPOCH:SEQ.")
    ],
    source: Annotated[
        Path | None, typer.Option("--source", metavar="FILE", help="The rule's text, to show the lines.")
    ] = None,
    programs: Annotated[
        list[Path] | None,
        typer.Option(
            "--program",
            metavar="FILE",
            help="A program of the rule that the store has no more; again for those before it.",
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Explain one execution, and let its program decide again on what it saw.

    Exit code 0: it decides the same again. 1: it decides otherwise. 3: that cannot be told, because its program or the
    records that made its memory are gone, or a board ran it, which records no inputs. Where there is no such execution
    it is 1, too: `--json` then has an `error`, and else `again.verdict`. SEQ alone is a record of the store that is
    read; NODE:SEQ is of the newest epoch.
    """
    from eyeflow.audit.execution_id import parse_execution_id

    asked = parse_execution_id(execution)
    if asked is None:
        raise usage_error(f"`{execution}` is no id of an execution", "write NODE:EPOCH:SEQ, as eyeflow executions does")
    lines = _lines_of(source) if source is not None else []
    if wants_store(config, data_dir):
        found = _of_store(config, data_dir, context.args, asked, programs or [])
    else:
        _refuse_store_options(programs, context.args)
        found, text = _of_coordinator(asked, source is None)
        lines = lines or text.splitlines()
    if source is not None and not _is_source(source, found["program"]["id"]):
        note(f"{source} does not compile to this program: its lines may be others")
    if json_:
        say_json(found)
    else:
        for line in _told(found, lines):
            say(line)
    finish(EXIT_CODES[found["again"]["verdict"]])


def _of_store(
    config: Path | None, data_dir: Path | None, flags: list[str], asked: ExecutionId, programs: list[Path]
) -> Json:
    from eyeflow.audit.why import explain, find_execution
    from eyeflow.client.keyring import Keyring
    from eyeflow.node.replay.store_history import StoreHistory
    from eyeflow.protocol.audit_bodies import AuditError, ExecutionBody

    ring = Keyring()
    names = {one.public_key: one.name for one in ring.list()}
    names |= {one.public_key: one.name for one in ring.trusted()}
    with open_store(config, data_dir, flags) as reader:
        if asked.node not in ("", reader.node) or asked.epoch not in (None, reader.epoch):
            raise EyeflowError(
                f"{asked} is not in this store",
                cause=f"it is the store of {reader.node}, epoch {reader.epoch}",
                next_step="name another store, or leave out --config and --data-dir to ask the coordinator",
                code="execution_not_found",
                exit_code=ExitCode.PROBLEMS,
            )
        try:
            given = {bytes.fromhex(signed.program_id): data for data, signed in map(read_program, programs)}
            history = StoreHistory(reader, lambda key: names.get(key, ""), given)
            # First: only before what is there something runs again.
            body = find_execution(history, asked.seq)[2]
            if programs and isinstance(body, ExecutionBody) and history.program(body.program) is None:
                raise _no_program(body.program, programs)
            with progress("runs what came before again"):
                return explain(history, asked.seq, ALL_RECORDS)
        except AuditError as error:
            raise unreadable_record(error) from error


def _no_program(ran: bytes, programs: list[Path]) -> EyeflowError:
    named = "; ".join(f"{path} is {read_program(path)[1].program_id[:12]}" for path in programs)
    return EyeflowError(
        "--program names no file with the program that ran",
        cause=f"that was {ran.hex()[:12]}; {named}",
        next_step="compile the rule as it was then: the same text in a file of the same name gives the same id",
        code="program_not_found",
        exit_code=ExitCode.USAGE,
    )


def _refuse_store_options(programs: list[Path] | None, flags: list[str]) -> None:
    if programs:
        told = "leave it out: the coordinator keeps all programs that were uploaded"
        raise usage_error("--program goes with a store (--config or --data-dir)", told)
    if flags:
        raise usage_error(f"there is no option {flags[0]}", "see eyeflow why --help")


def _of_coordinator(asked: ExecutionId, with_source: bool) -> tuple[Json, str]:
    """Return the explanation, and the text of its program where it is wanted and somebody uploaded it."""
    from eyeflow.cli.cluster import connect

    if not asked.node:
        raise usage_error(f"{asked} names no node", "write NODE:EPOCH:SEQ, or the store with --config or --data-dir")
    with connect() as client, progress("asks the coordinator"):
        found = client.why(str(asked))
        program_id = found["program"]["id"]
        if not (with_source and program_id):
            return found, ""
        try:
            return found, client.source(program_id)
        except EyeflowError as error:
            if error.code != "program_not_found":
                raise
            return found, ""  # the coordinator forgot the program, or it came to the node by another way


def _lines_of(source: Path) -> list[str]:
    from eyeflow.base.reading import Unreadable, read_text

    try:
        return read_text(source, SOURCE_BYTES_MAX).splitlines()
    except Unreadable as error:
        raise usage_error(f"--source {source}: {error}", "name the .eye file of the rule") from error


def _is_source(source: Path, program_id: str) -> bool:
    from eyeflow.base.reading import read_text
    from eyeflow.compiler.compile import compile_rule
    from eyeflow.svm.container import decode, encode

    made = compile_rule(read_text(source, SOURCE_BYTES_MAX), name=source.name).program
    return made is not None and decode(encode(made)).program_id == program_id


# --- for people ---


def _told(found: Json, source: list[str]) -> Iterator[str]:
    one, program = found["execution"], found["program"]
    yield f"{paint(one['id'], '1', sys.stdout)}  {iso_time(one['timeUs'])}"
    yield f"{one['rule']} {program['version']} on {one['trigger'] or 'a trigger that is not known'}, slot {one['slot']}"
    yield ""
    yield from _block("went in", _given(found))
    yield from _block("state", _state(found))
    yield from _block("way", _way(found, source))
    yield from _block("decided", _decided(found, source))
    yield from _block("program", _program(program, found["texts"]["params"]))
    yield from _block("chain", _chain(one, found["chain"]))
    yield from _block("vouched", iter(found["vouched"]))
    yield from _block("again", _again(found))


def _block(word: str, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{(word if not number else '').ljust(WIDTH)} {line}"


def _given(found: Json) -> Iterator[str]:
    one = found["execution"]
    yield from found["texts"]["wentIn"]
    if one["board"] is not None:
        yield "not recorded"
    if one["key"]:
        yield f"key {one['key']}"
    yield f"the time {iso_time(one['eventTimeUs'])}"


def _state(found: Json) -> Iterator[str]:
    if found["stateBefore"] is None:
        yield "not recorded" if found["execution"]["board"] is not None else "not known"
    yield from found["texts"]["state"]
    if found["stateBefore"] == {}:
        yield "the rule has no state variables"


def _way(found: Json, source: list[str]) -> Iterator[str]:
    for step in found["path"]:
        answer = paint("yes", "32", sys.stdout) if step["taken"] else paint("no", "33", sys.stdout)
        because = f": {'; '.join(step['compared'])}" if step["compared"] else ""
        yield f"line {step['line']}  {_text(source, step['line'])}{answer}{because}"
    if found["pathLeftOut"]:
        yield f"and {counted(found['pathLeftOut'], 'branch more').replace('mores', 'more')}"
    if not found["path"] and found["stateBefore"] is not None:
        yield "no branch: it runs straight through"


def _decided(found: Json, source: list[str]) -> Iterator[str]:
    one = found["execution"]
    if one["trap"] is not None:
        yield paint(f"trapped: {one['trap']['name']}{_at(one['trap']['line'])}", "31", sys.stdout)
        if text := _text(source, one["trap"]["line"]):
            yield f"  {text.strip()}"
    for text, action in zip(found["texts"]["actions"], found["actions"], strict=True):
        yield f"{text}: {_end(action)}"
    if one["board"] is not None:
        from eyeflow.audit.board_view import levels_text

        yield f"{one['outcome']} at instruction {one['board']['instruction']}; then {levels_text(one['board'])}"
    elif one["trap"] is None and not found["actions"]:
        yield "nothing" if one["outcome"] == "ok" else one["outcome"]


def _end(action: Json) -> str:
    told = {"repeated": "not sent: it is so already", "emitted": "emitted", "withheld": "withheld: a candidate asked"}
    if action["disposition"] in told:
        return told[action["disposition"]]
    times = f" after {counted(action['attempts'], 'attempt')}" if action["attempts"] > 1 else ""
    error = f": {action['error']}" if action["error"] else ""
    record = f" (record {action['resultSeq']})" if action["resultSeq"] else ""
    return f"{action['result']}{times}{error}{record}"


def _program(program: Json, params: list[str]) -> Iterator[str]:
    yield program["id"]
    for signer in program["signers"]:
        holds = "" if signer["holds"] else ", and the signature does not hold"
        yield f"signed by {signer['name'] or 'a key that is not known here'}, {signer['fingerprint'][:16]}{holds}"
    if program["installSeq"]:
        by = f" by {program['deployment']}" if program["deployment"] else ""
        yield f"installed{by}, record {program['installSeq']}"
    if params:
        yield f"with {', '.join(params)}" + (
            "" if program["paramsKnown"] else ": the usual values; the record with its own is gone"
        )


def _chain(one: Json, chain: Json) -> Iterator[str]:
    fits = {True: "fits", False: "does NOT fit", None: "is not here"}
    yield f"record {one['seq']} of epoch {one['epoch']}, hash {chain['hash'][:16]}"
    yield f"the record before {fits[chain['prevFits']]}, the next one {fits[chain['nextFits']]}"
    if chain["checkpoint"]:
        yield f"the node vouches for it by record {chain['checkpoint']}"
    if chain["cosigned"]:
        yield f"the coordinator has signed the chain up to record {chain['cosignedSeq']}"
    else:
        yield "the coordinator has not signed so far"


def _again(found: Json) -> Iterator[str]:
    again, memory = found["again"], found["memory"]
    says = {"same": "decides the same", "differs": "decides OTHERWISE", "unknown": "cannot be told"}
    style = {"same": "32", "differs": "31", "unknown": "33"}[again["verdict"]]
    yield paint(says[again["verdict"]], style, sys.stdout) + (f": {again['why']}" if again["why"] else "")
    if again["verdict"] != "same" and found["execution"]["board"] is None:
        yield f"recorded: {', '.join(again['recorded']) or 'nothing'}"
        yield f"now: {', '.join(again['decided']) or 'nothing'}"
    ran = f"; {counted(memory['executions'], 'earlier execution')} ran again" if memory["executions"] else ""
    unlike = f", {memory['unlike']} of them otherwise than recorded" if memory["unlike"] else ""
    yield f"its memory: {memory['note']}{ran}{unlike}"


def _text(source: list[str], line: int) -> str:
    return f"{source[line - 1].strip()}  " if 0 < line <= len(source) else ""


def _at(line: int) -> str:
    return f" at line {line}" if line else ""
