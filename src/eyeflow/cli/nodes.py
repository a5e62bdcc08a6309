"""The commands `eyeflow nodes ...`: see, label, drain and forget the nodes of the cluster."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eyeflow.cli import choosing
from eyeflow.cli import node_texts as texts
from eyeflow.cli.cluster import connect
from eyeflow.cli.console import JsonFlag, note, say, say_json, table
from eyeflow.cli.files import usage_error
from eyeflow.cli.questions import can_ask

Json = dict[str, Any]

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NODE", help="The node, by name.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="nodes")


@app.callback(invoke_without_command=True)
def every(context: typer.Context, json_: JsonFlag = False) -> None:
    """See, label, drain and forget nodes; without a command: list them."""
    if context.invoked_subcommand is None:
        list_(None, "", "", json_)


@app.command("list")
def list_(
    label: choosing.Label = None,
    rule: Annotated[str, typer.Option("--rule", metavar="RULE", help="Nodes that shall run this rule.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="PART", help="Nodes with this in their name.")] = "",
    json_: JsonFlag = False,
) -> None:
    """List the nodes of the cluster, all or those that fit."""
    labels = [f"{name}={value}" for name, value in choosing.labels_of(label or []).items()]
    asked: Json = {"label": labels} | ({"rule": rule} if rule else {}) | ({"name": name} if name else {})
    with connect() as client:
        found = client.nodes(**asked)
    if json_:
        say_json(found)
        return
    if not found:
        note(
            "no node fits"
            if any(asked.values())
            else "no nodes yet: eyeflow coordinator join-token tells how one joins"
        )
        return
    _table(found)
    for node in found:
        texts.say_findings(node, f"{node['name']}: ")


def _table(nodes: list[Json]) -> None:
    rows = [
        [n["name"], texts.state(n), n["fingerprint"][:16], str(n["protocol"] or "-"), texts.labels(n), texts.rules(n)]
        for n in nodes
    ]
    table(["NODE", "STATE", "KEY", "PROTOCOL", "LABELS", "RULES"], rows)


def _say(node: Json) -> None:
    _table([node])
    texts.say_node(node)


@app.command("show")
def show(
    node: Name,
    state: Annotated[bool, typer.Option("--state", help="The state variables of its rules, too.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Show a node: what it runs and how it does."""
    with connect() as client:
        found = client.node(node)
        states = client.states(node) if state else []
        copies = client.copies(node)
    if json_:
        say_json(found | ({"states": states} if state else {}))
        return
    _say(found)
    texts.say_losses(copies)
    if state:
        texts.say_states(states)


@app.command("label")
def label(
    node: Name,
    changes: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE|NAME-...", help="Labels to set, or to remove: site=lyon rack-")
    ],
    json_: JsonFlag = False,
) -> None:
    """Set labels of a node, or remove them: `eyeflow nodes label node-a site=lyon rack-`."""
    gone = [text.removesuffix("-") for text in changes if "=" not in text and text.endswith("-")]
    new = choosing.labels_of([text for text in changes if "=" in text or not text.endswith("-")])
    with connect() as client:
        before = client.node(node)["labels"]
        if missing := [name for name in gone if name not in before]:
            raise usage_error(f"{node} has no label {missing[0]}", f"it has: {' '.join(before) or 'none'}")
        found = client.label_node(node, {name: v for name, v in before.items() if name not in gone} | new)
    if json_:
        say_json(found)
    else:
        say(f"{node} has the labels: {texts.labels(found)}")


@app.command("drain")
def drain(
    node: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Take all rules off a node; until `undrain`, only deployments that name it come to it."""
    with connect() as client:
        running = [rule["rule"] for rule in client.node(node)["rules"] if rule["wanted"]]
        if running and not yes:
            _ask(node, running)
        found = client.drain_node(node)
    if json_:
        say_json(found)
    else:
        say(f"{node} is drained: {', '.join(running) or 'nothing'} taken off")


def _ask(node: str, running: list[str]) -> None:
    question = f"{node} stops and forgets {len(running)} rules: {', '.join(running)}. Go on?"
    if not can_ask():
        raise usage_error(question, f"eyeflow nodes drain {node} --yes", "no terminal")
    typer.confirm(question, abort=True, err=True)


@app.command("undrain")
def undrain(node: Name, json_: JsonFlag = False) -> None:
    """Let deployments go to a node again that was drained."""
    with connect() as client:
        found = client.undrain_node(node)
    if json_:
        say_json(found)
    else:
        say(f"{node} is not drained any more; deploy again what it shall run")


@app.command("forget")
def forget(node: Name, json_: JsonFlag = False) -> None:
    """Take a node out of the cluster; it goes on running what it has."""
    with connect() as client:
        client.remove_node(node)
    if json_:
        say_json({"removed": node})
    else:
        say(f"{node} is no node of the cluster any more; it goes on running what it has")


@app.command("quarantine")
def quarantine(
    node: Name,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for others.")] = "",
    json_: JsonFlag = False,
) -> None:
    """Set a node aside: nothing is deployed to it, and nothing of it is copied, until `accept`; it runs on."""
    with connect() as client:
        found = client.quarantine_node(node, reason)
    if json_:
        say_json(found)
        return
    say(f"{node} is in quarantine: nothing is deployed to it, and nothing of its audit is copied; it runs on")
    say(f"  to end that: eyeflow nodes accept {node}")


@app.command("accept")
def accept(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node, by name.")] = "",
    ahead: Annotated[
        bool, typer.Option("--ahead", help="All nodes that have a newer manifest: the store is an old copy.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Forget what contradicts what a node has now; one with a newer manifest gets what the coordinator knows."""
    if bool(node) == ahead:
        raise usage_error("nobody knows which node is meant", "name one, or give --ahead for all with a newer manifest")
    with connect() as client:
        names = [one["name"] for one in client.nodes() if one["aheadVersion"]] if ahead else [node]
        before = {name: client.copies(name) for name in names}
        found = [client.accept_node(name) for name in names]
        copies = {name: client.copies(name) for name in names}
    if json_:
        say_json(found if ahead else found[0])
        return
    if not found:
        note("no node has a newer manifest than the coordinator knows")
    for one in found:
        say(f"{one['name']} is accepted: what was seen of it before does not count any more")
        texts.say_what_follows(one["name"], before[one["name"]], copies[one["name"]])
        if not ahead:
            _say(one)
