"""The commands `eyeflow alarms ...`: what needs a person, and who has taken note of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eyeflow.cli import node_texts as texts
from eyeflow.cli.cluster import connect
from eyeflow.cli.console import JsonFlag, note, say, say_json, table
from eyeflow.cli.times import ago

app = typer.Typer(rich_markup_mode=None)
LISTED = 50

Identity = Annotated[str, typer.Argument(metavar="ID", help="The alarm, by its number.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="alarms")


@app.callback(invoke_without_command=True)
def every(context: typer.Context, json_: JsonFlag = False) -> None:
    """See what needs a person, and take note of it; without a command: list the alarms that last."""
    if context.invoked_subcommand is None:
        list_(json_=json_)


@app.command("list")
def list_(
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="Alarms of this node.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Those of which nobody has taken note.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = LISTED,
    json_: JsonFlag = False,
) -> None:
    """List the newest alarms that last, newest first."""
    asked: dict[str, Any] = {"node": node} if node else {}
    asked |= {} if all_ else {"open": True}
    asked |= {"acknowledged": False} if new else {}
    with connect() as client:
        found = client.alarms(limit, **asked)
    if json_:
        say_json(found)
    elif not found:
        note("no alarm")
    else:
        table(["ALARM", "KIND", "SUBJECT", "SINCE", "STATE", "EVIDENCE"], [_row(one) for one in found])


def state(one: dict[str, Any]) -> str:
    """Return how an alarm stands in a few words."""
    if not one["open"]:
        return "ended"
    return f"seen by {one['acknowledgedBy']}" if one["acknowledgedUs"] else "open"


def _row(one: dict[str, Any]) -> list[str]:
    return [one["id"], one["kind"], one["subject"], ago(one["sinceUs"]), state(one), one["evidence"]]


@app.command("show")
def show(alarm: Identity, json_: JsonFlag = False) -> None:
    """Show an alarm: since when, the evidence, what to do, and who has taken note of it."""
    with connect() as client:
        found = client.alarm(alarm)
        is_doubt = found["kind"] == "nodeInDoubt" and found["open"]
        findings = client.node(found["subject"])["findings"] if is_doubt else []
    _say(found, json_)
    for one in [] if json_ else findings:
        texts.say_proof(one["proof"], "")


@app.command("acknowledge")
def acknowledge(
    alarm: Identity,
    text: Annotated[str, typer.Option("--note", metavar="TEXT", help="What others should know.")] = "",
    json_: JsonFlag = False,
) -> None:
    """Take note of an alarm under the name of your token; it lasts until what it is about is over."""
    with connect() as client:
        _say(client.acknowledge_alarm(alarm, text), json_)


def _say(one: dict[str, Any], json_: bool) -> None:
    if json_:
        say_json(one)
        return
    say(f"alarm {one['id']}: {one['kind']} of {one['subject']}, since {ago(one['sinceUs'])}")
    told = [("evidence", one["evidence"]), ("next step", one["nextStep"])]
    if one["endedUs"]:
        told.append(("ended", f"{ago(one['endedUs'])}: {one['ended']}"))
    if one["acknowledgedUs"]:
        said = f": {one['note']}" if one["note"] else ""
        told.append(("seen by", f"{one['acknowledgedBy']}, {ago(one['acknowledgedUs'])}{said}"))
    for word, text in told:
        if text:
            say(f"  {word.ljust(9)}  {text}")
