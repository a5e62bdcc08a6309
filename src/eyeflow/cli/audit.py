"""The commands `eyeflow audit ...`: check the chain of a node's records, and read them."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode
from eyeflow.cli.console import JsonFlag, counted, finish, note, paint, say, say_json
from eyeflow.cli.node_options import SETTING_FLAGS, ConfigOption
from eyeflow.cli.recorded import DataDirOption, open_store, programs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eyeflow.node.store.reader import AuditReader
    from eyeflow.protocol.audit import ChainReport, Record
    from eyeflow.protocol.audit_bodies import GapBody

app = typer.Typer(no_args_is_help=True, help="The record of everything a node did.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="audit")


KEY_ORIGINS = {
    "option": "--key",
    "node.key": "node.key beside the store; --key takes the one that the coordinator knows",
    "store": "the store itself: this shows damage, but not a forger. Give the node's key with --key",
}
FIELD = re.compile(r"[\w.:/-]+")


@app.command("verify", context_settings=SETTING_FLAGS)
def verify(
    context: typer.Context,
    key: Annotated[
        str,
        typer.Option(
            "--key", help="The node's public key (hex or a file), or its fingerprint, which the coordinator shows."
        ),
    ] = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Check the hash chain of a node's audit: every record whole, unaltered and in its place.

    Signatures are checked with --key, or else with the node's own key beside the store. Exit code 1 at the first
    record that does not fit, and when there is none.
    """
    from eyeflow.protocol.audit import verify_stored
    from eyeflow.protocol.identity import key_fingerprint

    with open_store(config, data_dir, context.args) as reader:
        public_key, origin = _vouching_key(key, reader)
        report = verify_stored(reader.rows(), public_key)
    if json_:
        say_json(_report(report) | {"publicKey": public_key.hex(), "keyFrom": origin})
    else:
        _say_report(report)
        say(f"  checked with the key {public_key.hex()}, fingerprint {key_fingerprint(public_key)}")
        say(f"  from {KEY_ORIGINS[origin]}")
    finish(ExitCode.OK if report.holds else ExitCode.PROBLEMS)


def _vouching_key(given: str, reader: AuditReader) -> tuple[bytes, str]:
    """Return the key that signatures must be of, and where it comes from: a store that names its own proves nothing."""
    from eyeflow.client.keyring import read_public_key
    from eyeflow.node.own_key import KEY_NAME, load_identity
    from eyeflow.protocol.identity import key_fingerprint

    if given:
        known = key_fingerprint(reader.public_key) == given.strip().lower()
        return reader.public_key if known else read_public_key(given), "option"
    if (reader.path.parent / KEY_NAME).exists():
        return load_identity(reader.path.parent).public_key, "node.key"
    return reader.public_key, "store"


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
    from_seq: Annotated[int, typer.Option("--from", metavar="SEQ", help="From this record on, instead.")] = 0,
    rule: Annotated[str, typer.Option("--rule", help="Only records of this rule.")] = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Show audit records: what happened, why, and what was done."""
    from eyeflow.protocol.audit import decode_record

    with open_store(config, data_dir, context.args) as reader:
        _first, newest = reader.range
        start = from_seq or (1 if rule else max(1, newest - last + 1))
        shown: list[Record] = []
        for data in reader.records(start):
            record = decode_record(data)
            if rule and getattr(record.body, "rule", None) != rule:
                continue
            shown.append(record)
            if from_seq == 0 and len(shown) > last:
                shown.pop(0)
            elif from_seq and len(shown) == last:
                break
        if not shown:
            note(f"no record of the rule `{rule}` here" if rule else f"no record here: the last one is {newest}")
        say_records(shown, reader, json_=json_)


def say_records(records: Iterable[Record], reader: AuditReader, *, json_: bool) -> None:
    """Print records of a store, one a line, with the names of the programs that are still there."""
    from eyeflow.audit.view import defaults, finite, record_view

    find_program = programs_of(reader)
    for record in records:
        view = record_view(record, find_program)
        if json_:
            say_json(finite(view), indent=None)
        else:
            say(_line(view, defaults(record)))


def _line(view: dict[str, Any], usual: frozenset[str]) -> str:
    """Return one record as a line; what its kind does not need is left out, and so are the fields that are as usual."""
    from eyeflow.audit.view import told
    from eyeflow.cli.console import iso_time

    head = f"{view.pop('seq'):>6}  {iso_time(view.pop('timeUs'))}  {view.pop('kind'):<13}"
    for name in ("epoch", "node", "prev"):
        view.pop(name)
    for name in ("program", "previous", "lastHash", "publicKey"):
        if view.get(name):
            view[name] = view[name][:8]
    if "reads" not in view:
        return f"{head} " + " ".join(
            f"{n}={_field(v)}" for n, v in view.items() if n not in usual and v not in (None, [], "")
        )
    return f"{head} {told(view)}"


def _field(value: Any) -> str:
    """Return a field of a record: words, ids and versions bare."""
    return value if isinstance(value, str) and FIELD.fullmatch(value) else json.dumps(value, ensure_ascii=False)
