"""The commands `eyeflow audit ...`: check the chain of a node's records, and read them."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode
from eyeflow.cli.audit_sources import (
    Copy,
    copied_key,
    last_of,
    named_key,
    of_copy,
    of_store,
    open_copy,
    refuse_copy_options,
    refuse_store_options,
    store_key,
    told_often,
    write_export,
)
from eyeflow.cli.console import (
    JsonFlag,
    counted,
    finish,
    is_terminal,
    note,
    note_moving,
    paint,
    say,
    say_json,
)
from eyeflow.cli.files import usage_error
from eyeflow.cli.node_options import SETTING_FLAGS, ConfigOption
from eyeflow.cli.recorded import DataDirOption, open_store, programs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from eyeflow.node.store.reader import AuditReader
    from eyeflow.protocol.audit import ChainReport, Record
    from eyeflow.protocol.audit_bodies import GapBody
    from eyeflow.svm.program import Program

app = typer.Typer(no_args_is_help=True, help="The record of everything a node did.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="audit")


KEY_ORIGINS = {
    "coordinator": "the chain itself, and it is the one with which the node joined, as the coordinator says",
    "option": "--key",
    "node.key": "node.key beside the store; --key takes the one that the coordinator knows",
    "store": "the store itself: this shows damage, but not a forger. Give the node's key with --key",
}
FIELD = re.compile(r"[\w.:/-]+")


NodeOption = Annotated[
    str, typer.Option("--node", metavar="NODE", help="The coordinator's copy of this node, in place of a store.")
]
EpochOption = Annotated[int | None, typer.Option("--epoch", help="The copy of this epoch; the newest otherwise.")]
BranchOption = Annotated[int, typer.Option("--branch", min=0, help="A copy that was set aside, by its number.")]
KeyOption = Annotated[
    str,
    typer.Option(
        "--key", help="The node's public key (hex or a file), or its fingerprint, which the coordinator shows."
    ),
]


@app.command("verify", context_settings=SETTING_FLAGS)
def verify(
    context: typer.Context,
    node: NodeOption = "",
    epoch: EpochOption = None,
    branch: BranchOption = 0,
    key: KeyOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Check the hash chain of a node's audit: every record whole, unaltered and in its place.

    Signatures are checked with --key, or else with the node's own key beside the store. With --node the copy at the
    coordinator is fetched and checked here: with --key, or the key with which the node joined; also that the
    coordinator has signed where it ends. Exit code 1 at the first record that does not fit, and when there is none.
    """
    from eyeflow.protocol.audit import verify_stored
    from eyeflow.protocol.identity import key_fingerprint

    refuse_copy_options(node, epoch, branch)
    more: dict[str, Any] = {}
    if node:
        refuse_store_options(config, data_dir, context.args)
        with open_copy(node, epoch, branch) as copy:
            report, public_key, more = _verified_copy(copy, key)
        origin = "option" if key else "coordinator"
    else:
        with open_store(config, data_dir, context.args) as reader:
            public_key, origin = store_key(key, reader)
            report = verify_stored(reader.rows(), public_key, reader.tip)
    if json_:
        say_json(_report(report) | {"publicKey": public_key.hex(), "keyFrom": origin} | more)
    else:
        _say_report(report)
        if node and report.holds:
            _say_head(more)
        say(f"  checked with the key {public_key.hex()}, fingerprint {key_fingerprint(public_key)}")
        say(f"  from {KEY_ORIGINS[origin]}")
    finish(ExitCode.OK if report.holds and more.get("cosigned", True) else ExitCode.PROBLEMS)


def _verified_copy(copy: Copy, key: str) -> tuple[ChainReport, bytes, dict[str, Any]]:
    """Check a copy, and that the coordinator has signed its end."""
    from itertools import chain

    from eyeflow.protocol.audit import Anchor, decode_record, verify_copy
    from eyeflow.protocol.audit_bodies import AuditError
    from eyeflow.protocol.collecting import is_cosigned
    from eyeflow.protocol.identity import key_fingerprint

    public_key = named_key(key, b"") if key else copied_key(copy)
    records = iter(copy.records(copy.first_seq, copy.head.seq))
    first, anchor = next(records, None), None
    if first is not None and copy.first_seq > 1:
        with suppress(AuditError):  # the walk tells it
            anchor = Anchor(copy.first_seq - 1, decode_record(first).prev)
    report = verify_copy(chain([first] if first is not None else [], told_often(records, tell)), public_key, anchor)
    tell(0)
    head, coordinator = copy.head, key_fingerprint(copy.coordinator_key)
    is_there = (report.last_seq, report.head) == (head.seq, head.hash)
    cosigned = is_there and is_cosigned(head, coordinator, copy.coordinator_key, copy.node)
    return report, public_key, {"cosigned": cosigned, "cosignedSeq": head.seq, "coordinatorId": coordinator}


def _say_head(more: dict[str, Any]) -> None:
    if more["cosigned"]:
        say(f"  it ends at record {more['cosignedSeq']}, as the coordinator {more['coordinatorId'][:16]} has signed")
    else:
        say(f"  {paint('CUT OFF', '1;31', sys.stdout)}: the coordinator has not signed that it ends here")


def tell(number: int) -> None:
    """Show how far it is, on a terminal."""
    if is_terminal():
        note_moving(f"{number:,} records" if number else "")


def _report(report: ChainReport) -> dict[str, Any]:
    problem = report.problem
    return {
        "holds": report.holds,
        "node": report.node,
        "epoch": report.epoch,
        "records": report.records,
        "firstSeq": report.first_seq,
        "lastSeq": report.last_seq,
        "head": report.head.hex(),
        "checkpoints": report.checkpoints,
        "unvouched": report.unvouched,
        "lostTotal": report.lost_total,
        "gaps": [
            {"firstSeq": gap.first_seq, "lastSeq": gap.last_seq, "count": gap.count, "reason": gap.reason}
            for gap in report.lost
        ],
        "problem": None
        if problem is None
        else {"kind": problem.kind.value, "seq": problem.seq, "why": problem.message},
    }


def _say_report(report: ChainReport) -> None:
    if report.problem is not None:
        say(f"{paint('BROKEN', '1;31', sys.stdout)} at record {report.problem.seq}: {report.problem.message}")
        note("keep the store as it is: it is the evidence. A backup shows what stood there before")
        return
    records = f"{counted(report.records, 'record')} of {report.node}, epoch {report.epoch}"
    say(f"{paint('holds', '32', sys.stdout)}: {records},")
    say(f"  {report.first_seq} to {report.last_seq}, head {report.head.hex()[:16]}")
    checkpoints, rest = counted(report.checkpoints, "checkpoint"), counted(report.unvouched, "record")
    say(f"  {checkpoints} signed by the node, {rest} after the last")
    for gap in report.lost:
        say(f"  gap: {counted(gap.count, 'record')}, {_told_gap(gap)}")
    if report.lost:
        lost = f"{counted(report.lost_total, 'record')} of this epoch" if report.lost_total else "nothing"
        say(f"  lost, so that nobody holds it: {lost}")


def _told_gap(gap: GapBody) -> str:
    """Say which records a gap is about, and why they are gone."""
    if not gap.last_seq:
        return f"never written: {gap.reason}"
    from eyeflow.protocol.audit_bodies import COPIED

    why = "each destination holds them" if gap.reason == COPIED else gap.reason
    return f"{gap.first_seq} to {gap.last_seq} dropped: {why}"


@app.command("show", context_settings=SETTING_FLAGS)
def show(
    context: typer.Context,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many records, the newest.")] = 20,
    from_seq: Annotated[
        int | None, typer.Option("--from", metavar="SEQ", min=1, help="From this record on, instead.")
    ] = None,
    rule: Annotated[str, typer.Option("--rule", help="Only records of this rule.")] = "",
    node: NodeOption = "",
    epoch: EpochOption = None,
    branch: BranchOption = 0,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Show audit records: what happened, why, and what was done."""
    from eyeflow.protocol.audit import decode_record

    refuse_copy_options(node, epoch, branch)
    if node:
        refuse_store_options(config, data_dir, context.args)
        with open_copy(node, epoch, branch) as copy:
            newest, texts = copy.head.seq, dict[int, str]()
            records = _with_texts(copy.rows(_start(from_seq, rule, newest, last), newest, texts=True), texts)
            _say_found(_chosen(records, rule, last, from_seq), rule, newest, lambda _id: None, texts, json_=json_)
        return
    with open_store(config, data_dir, context.args) as reader:
        newest = reader.range[1]
        records = map(decode_record, reader.records(_start(from_seq, rule, newest, last)))
        _say_found(_chosen(records, rule, last, from_seq), rule, newest, programs_of(reader), {}, json_=json_)


def _start(from_seq: int | None, rule: str, newest: int, last: int) -> int:
    return from_seq or (1 if rule else max(1, newest - last + 1))


def _with_texts(rows: Iterable[tuple[bytes, str]], texts: dict[int, str]) -> Iterator[Record]:
    """Yield the records, and keep the texts of executions by seq."""
    from eyeflow.protocol.audit import decode_record

    for data, text in rows:
        record = decode_record(data)
        if text:
            texts[record.seq] = text
        yield record


def _chosen(records: Iterable[Record], rule: str, last: int, from_seq: int | None) -> list[Record]:
    """Return the first `last` records of a rule, or the last so many unless they begin at `from_seq`."""
    shown: list[Record] = []
    for record in records:
        if rule and getattr(record.body, "rule", None) != rule:
            continue
        shown.append(record)
        if from_seq == 0 and len(shown) > last:
            shown.pop(0)
        elif from_seq and len(shown) == last:
            break
    return shown


def _say_found(
    shown: list[Record],
    rule: str,
    newest: int,
    find_program: Callable[[bytes], Program | None],
    texts: Mapping[int, str],
    *,
    json_: bool,
) -> None:
    if not shown:
        note(f"no record of the rule `{rule}` here" if rule else f"no record here: the last one is {newest}")
    for record in shown:
        _say_record(record, find_program, texts.get(record.seq, ""), json_=json_)


@app.command("export", context_settings=SETTING_FLAGS)
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    from_seq: Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="From this record on.")] = 1,
    to_seq: Annotated[int | None, typer.Option("--to", metavar="SEQ", min=1, help="Up to this record.")] = None,
    node: NodeOption = "",
    epoch: EpochOption = None,
    branch: BranchOption = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Write an audit, or a part of it, to a file that others can check with public keys alone.

    docs/reference/audit.md has the format, and a program that checks it. The file is whole, or it is not there.
    """
    refuse_copy_options(node, epoch, branch)
    if file.exists() and not force:
        raise usage_error(f"{file} exists", "name another file, or overwrite it with --force")
    if node:
        refuse_store_options(config, data_dir, context.args)
        with open_copy(node, epoch, branch) as copy:
            what = of_copy(copy, from_seq, to_seq)
            count = write_export(file, what, copy.records(max(from_seq, copy.first_seq), last_of(to_seq, what)), tell)
    else:
        with open_store(config, data_dir, context.args) as reader:
            what, last = of_store(reader, from_seq, to_seq)
            count = write_export(file, what, reader.records(from_seq, last), tell)
    tell(0)
    keys = [("node", what.node_key), ("coordinator", what.coordinator_key)]
    if json_:
        told = {f"{name}Key": key.hex() for name, key in keys}
        say_json({"file": str(file), "node": what.node, "epoch": what.epoch, "records": count, **told})
        return
    say(f"wrote {counted(count, 'record')} of {what.node}, epoch {what.epoch}, to {file}")
    for name, key in keys:
        if key:
            say(f"  key of the {name}: {key.hex()}")
    if what.head is None:
        note("no coordinator has signed where it ends: a reader cannot see whether the end was cut off")


def say_records(records: Iterable[Record], reader: AuditReader, *, json_: bool) -> None:
    """Print records of a store, one a line, with the names of the programs that are still there."""
    find_program = programs_of(reader)
    for record in records:
        _say_record(record, find_program, "", json_=json_)


def _say_record(record: Record, find_program: Callable[[bytes], Program | None], text: str, *, json_: bool) -> None:
    """Print a record; `text` is the line of an execution whose program is elsewhere."""
    from eyeflow.audit.view import defaults, finite, record_view

    view = record_view(record, find_program)
    if json_:
        say_json(finite(view) | ({"text": text} if text else {}), indent=None)
    else:
        say(_line(view, defaults(record), text))


def _line(view: dict[str, Any], usual: frozenset[str], text: str = "") -> str:
    """Return one record as a line; what its kind does not need is left out, and so are the fields that are as usual."""
    from eyeflow.audit.view import told
    from eyeflow.cli.console import iso_time

    head = f"{view.pop('seq'):>6}  {iso_time(view.pop('timeUs'))}  {view.pop('kind'):<13}"
    for name in ("epoch", "node", "prev"):
        view.pop(name)
    for name in ("program", "previous", "lastHash", "publicKey"):
        if view.get(name):
            view[name] = view[name][:8]
    if "reads" not in view and not text:
        return f"{head} " + " ".join(
            f"{n}={_field(v)}" for n, v in view.items() if n not in usual and v not in (None, [], "")
        )
    return f"{head} {text or told(view)}"


def _field(value: Any) -> str:
    """Return a field of a record: words, ids and versions bare."""
    return value if isinstance(value, str) and FIELD.fullmatch(value) else json.dumps(value, ensure_ascii=False)
