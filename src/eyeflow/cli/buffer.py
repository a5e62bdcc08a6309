"""The commands `eyeflow buffer ...`: what a node keeps until others have it, running or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli.audit import say_records, tell
from eyeflow.cli.audit_sources import of_store, write_export
from eyeflow.cli.console import JsonFlag, counted, iso_time, note, paint, say, say_json
from eyeflow.cli.files import usage_error
from eyeflow.cli.node_options import SETTING_FLAGS, ConfigOption, data_dir_of, load_node_config
from eyeflow.cli.recorded import DataDirOption
from eyeflow.cli.times import span

if TYPE_CHECKING:
    from eyeflow.node.config.config import NodeConfig

app = typer.Typer(
    no_args_is_help=True, help="What a node keeps until others hold it, and how far they are.", rich_markup_mode=None
)

Json = dict[str, Any]
MB = 1024 * 1024


DestinationOption = Annotated[
    str, typer.Option("--to", metavar="DESTINATION", help="Whom they go to: coordinator or kafka.")
]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="buffer")


@app.command("status", context_settings=SETTING_FLAGS)
def status(
    context: typer.Context,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics in the text format.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Show how much waits in a node's buffer, how old it is, what was dropped, and how far each destination is.

    How fast a destination catches up is known of a node that runs.
    """
    if prometheus and json_:
        raise usage_error("--prometheus and --json are two forms of one thing", "leave out one of them")
    directory, settings = _place(config, data_dir, context.args)
    found = _facts(directory, settings)
    if prometheus:
        _say_metrics(found)
    elif json_:
        say_json(found)
    else:
        _say_buffer(found)


@app.command("peek", context_settings=SETTING_FLAGS)
def peek(
    context: typer.Context,
    destination: DestinationOption = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many records.")] = 10,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Show the records that go to a destination next. They stay where they are."""
    from itertools import islice

    from eyeflow.node.store.reader import AuditReader
    from eyeflow.protocol.audit import decode_record

    directory, settings = _place(config, data_dir, context.args)
    found = _facts(directory, settings)
    chosen = _destination(found, destination)
    with AuditReader(directory) as reader:
        records = [decode_record(data) for data in islice(reader.records(chosen["seq"] + 1), min(count, sys.maxsize))]
        say_records(records, reader, json_=json_)
    if not records:
        note(f"nothing waits: {chosen['name']} holds every record")
    elif chosen["missed"]:
        note(f"{counted(chosen['missed'], 'record')} before these were dropped, and {chosen['name']} has none of them")


@app.command("export", context_settings=SETTING_FLAGS)
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    destination: DestinationOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All that is there, also what was handed on.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Write the records that a destination does not hold yet to a file. They stay in the buffer, too.

    The file is one of `eyeflow audit export`, and is checked as such: docs/reference/audit.md.
    """
    from eyeflow.node.store.reader import AuditReader

    if file.exists() and not force:
        raise usage_error(f"{file} exists", "name another file, or overwrite it with --force")
    if everything and destination:
        raise usage_error("--all is for nobody in particular", "leave out --all or --to")
    directory, settings = _place(config, data_dir, context.args)
    found = _facts(directory, settings)
    chosen = None if everything else _destination(found, destination)
    if chosen is not None and not chosen["behind"]:
        if json_:
            say_json({"file": None, "node": found["node"], "records": 0})
        note(f"nothing waits: {chosen['name']} holds every record. No file was written; --all writes what is here")
        return
    from_seq = max(found["firstSeq"], 1 if chosen is None else chosen["seq"] + 1)
    with AuditReader(directory) as reader:
        what, last_seq = of_store(reader, from_seq, None)
        count = write_export(file, what, reader.records(from_seq, last_seq), tell)
    tell(0)
    if json_:
        told = {"file": str(file), "node": what.node, "epoch": what.epoch, "records": count}
        say_json(told | {"fromSeq": from_seq, "toSeq": last_seq, "nodeKey": what.node_key.hex()})
    else:
        which = f"{from_seq} to {last_seq} of epoch {what.epoch}"
        say(f"wrote {counted(count, 'record')} of {what.node}, {which}, to {file}")
        coordinator_key = what.coordinator_key.hex() or "-"
        say(f"  to check it: python verify.py {file} {what.node_key.hex()} {coordinator_key} {from_seq}")


def _place(config: Path | None, data_dir: Path | None, flags: list[str]) -> tuple[Path, NodeConfig | None]:
    """Return where the node's data is, and its settings; with --data-dir alone they are not known."""
    if data_dir is not None:
        return data_dir_of(config, data_dir, flags), None
    settings = load_node_config(config, flags)
    return settings.data_dir, settings


def _facts(directory: Path, settings: NodeConfig | None) -> Json:
    """Return the buffer as the node tells it, or as its files tell it when it does not run."""
    from eyeflow.base.clock import wall_clock_us
    from eyeflow.node.status.buffer import stored_buffer
    from eyeflow.node.status.local_socket import fetch_status
    from eyeflow.node.status.report import as_shown
    from eyeflow.node.store.reader import AuditReader

    try:
        told = fetch_status(directory)
    except EyeflowError as error:
        if error.code not in {"node_not_running", "node_silent"}:
            raise
        if error.code == "node_silent":
            note(f"{error.message}: this is what its files say")
        running = error.code == "node_silent"
    else:
        return {"node": told["node"], "running": True, "actionsWaiting": told["actionsWaiting"], **told["buffer"]}
    with AuditReader(directory) as reader:
        found = {"node": reader.node, "running": running, "actions_waiting": reader.actions_waiting}
        return as_shown(found | stored_buffer(reader, settings, wall_clock_us()))


def _destination(found: Json, name: str) -> Json:
    """Return the destination of this name; without one the only one there is."""
    known: list[Json] = found["destinations"]
    chosen = [one for one in known if one["name"] == name or not name]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(one["name"] for one in known)
    if not known:
        raise EyeflowError(
            f"the audit of {found['node']} goes nowhere",
            cause="The node belongs to no cluster, and its buffer_backend is sqlite.",
            next_step="See its records with: eyeflow audit show",
            code="no_destination",
        )
    raise usage_error(
        f"there is no destination {name}" if name else "which destination?", f"name one with --to: {names}"
    )


def _say_metrics(found: Json) -> None:
    from eyeflow.base.metrics_text import metrics_text
    from eyeflow.node.status.buffer_metrics import buffer_metrics

    for line in metrics_text(buffer_metrics(found)).splitlines():
        say(line)


def _say_buffer(found: Json) -> None:
    runs = "" if found["running"] else "  (it does not run)"
    say(f"{paint(found['node'], '1', sys.stdout)}: {counted(found['records'], 'record')} in its buffer{runs}")
    most = found.get("sizeBytesMax", found.get("sizeBytesSet"))
    bound = f" of {most / MB:.0f} MB" if most else ""
    say(f"  size     {found['sizeBytes'] / MB:.1f} MB on disk{bound}, {found['usedBytes'] / MB:.1f} MB in use")
    if found["brokerBytes"] or found.get("brokerBytesMax"):
        bound = f" of {found['brokerBytesMax'] / MB:.0f} MB" if found.get("brokerBytesMax") else ""
        say(f"  broker   {found['brokerBytes'] / MB:.1f} MB on disk{bound}")
    if found["records"]:
        bound = f" of {span(found['ageUsMax'] / 1e6)}" if found.get("ageUsMax") else ""
        oldest = f"record {found['firstSeq']} of {iso_time(found['oldestUs'])}"
        say(f"  age      {span(found['oldestAgeUs'] / 1e6)}{bound}: {oldest}")
    dropped = [f"{count} {reason}" for reason, count in found["dropped"].items()]
    if dropped:
        say(f"  dropped  {', '.join(dropped)}; lost, so that nobody holds them: {found['lost']}")
    if found["actionsWaiting"]:
        say(f"  actions  {found['actionsWaiting']} have not ended")
    for one in found["destinations"]:
        say(f"  {one['name']:<11} {_standing(one, found['lastSeq'])}")
        if one.get("trouble"):
            say(f"  {'':<11} {one['trouble']}")
    if not found["destinations"]:
        note("the audit goes nowhere: the node belongs to no cluster, and its buffer_backend is sqlite")


def _standing(one: Json, last_seq: int) -> str:
    """Say how far a destination is."""
    missed = f"; {one['missed']} were dropped before it had them" if one["missed"] else ""
    if not one["behind"]:
        return f"holds record {one['seq']}, the last one{missed}"
    told = f"holds record {one['seq']} of {last_seq}, {one['behind']} behind{missed}"
    if one["recordsPerS"] is None:
        return told
    if not one["recordsPerS"]:
        return f"{told}; it takes none now"
    left = "at this pace it does not catch up" if one["leftS"] is None else f"{span(one['leftS'])} left"
    return f"{told}; it takes {one['recordsPerS']:g} records/s, {left}"
