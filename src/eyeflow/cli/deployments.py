"""The commands `eyeflow deployments ...`: see a deployment, follow it, and steer it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eyeflow.cli import deployment_texts as texts
from eyeflow.cli import rollout_options
from eyeflow.cli.cluster import connect
from eyeflow.cli.console import JsonFlag, colored, finish, note, say, say_json, table
from eyeflow.cli.execution_texts import difference_lines, failure_lines
from eyeflow.cli.following import follow, tell_end
from eyeflow.cli.times import ago

app = typer.Typer(rich_markup_mode=None)
LISTED = 50

Identity = Annotated[str, typer.Argument(metavar="ID", help="The deployment, by its id.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="deployments")


@app.callback(invoke_without_command=True)
def every(context: typer.Context, json_: JsonFlag = False) -> None:
    """See, follow and steer deployments; without a command: list them."""
    if context.invoked_subcommand is None:
        list_(json_=json_)


@app.command("list")
def list_(
    rule: Annotated[str, typer.Option("--rule", metavar="RULE", help="Deployments of this rule.")] = "",
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="Deployments to this node.")] = "",
    open_: Annotated[bool, typer.Option("--open", help="Deployments that have not ended.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = LISTED,
    json_: JsonFlag = False,
) -> None:
    """List the newest deployments, newest first."""
    asked: dict[str, Any] = {name: value for name, value in (("rule", rule), ("node", node)) if value}
    asked |= {"open": True} if open_ else {}
    with connect() as client:
        found = client.deployments(limit, **asked)
    if json_:
        say_json(found)
        return
    if not found:
        note("no deployment fits" if asked else "no deployments yet: eyeflow deploy RULE.eye starts one")
        return
    headers = ["DEPLOYMENT", "RULE", "PROGRAM", "STRATEGY", "STATE", "NODES", "STARTED"]
    table(headers, [_row(one) for one in found])


def _row(one: dict[str, Any]) -> list[str]:
    how = [texts.programs(one), one["strategy"], texts.state(one), texts.counts(one)]
    return [one["id"], one["name"], *how, ago(one["createdUs"])]


@app.command("show")
def show(deployment: Identity, json_: JsonFlag = False) -> None:
    """Show a deployment: its step, verdict and nodes, what it waits for, what you can do, and what failed or differed.

    Of the executions that failed, and of those on which a shadow decided otherwise, it keeps the newest.
    """
    with connect() as client:
        found = client.deployment(deployment)
    if json_:
        say_json(found)
    else:
        _say(found)


def _say(found: dict[str, Any]) -> None:
    reason = f"  {found['reason']}" if found["reason"] else ""
    say(f"{texts.headline(found)}: {colored(texts.state(found))}{reason}")
    about = texts.about(found)
    width = max(len(word) for word, _ in about)
    for word, text in about:
        say(f"  {word.ljust(width)}  {text}")
    if found["nodes"]:
        say()
        table(["NODE", "PLACE", "STATE", "REASON"], texts.node_rows(found))
    for lines in (failure_lines(found["failures"]), difference_lines(found["differences"])):
        for number, line in enumerate(lines):
            if number == 0:
                say()
            say(line)


@app.command("watch")
def watch(deployment: Identity, timeout_s: rollout_options.Timeout = None, json_: JsonFlag = False) -> None:
    """Follow a deployment to its end.

    Exit code 0 when it succeeded, or watches nothing and only waits for offline nodes. Exit code 1 when it failed, went
    back, was cancelled or replaced, or has not ended in the time.
    """
    with connect() as client:
        ended = follow(client, client.deployment(deployment), timeout_s, json_)
    finish(tell_end(ended, waited=True, as_json=json_))


def _steer(deployment: str, verb: str, json_: bool) -> None:
    with connect() as client:
        found = client.steer_deployment(deployment, verb)
    if json_:
        say_json(found)
    else:
        _say(found)


@app.command("pause")
def pause(deployment: Identity, json_: JsonFlag = False) -> None:
    """Let a deployment begin nothing new; a failure still takes it back."""
    _steer(deployment, "pause", json_)


@app.command("resume")
def resume(deployment: Identity, json_: JsonFlag = False) -> None:
    """Let a deployment go on that somebody paused."""
    _steer(deployment, "resume", json_)


@app.command("promote")
def promote(deployment: Identity, json_: JsonFlag = False) -> None:
    """Let a deployment take its next step without more evidence."""
    _steer(deployment, "promote", json_)


@app.command("approve")
def approve(deployment: Identity, json_: JsonFlag = False) -> None:
    """Agree to a deployment that waits for a second person."""
    _steer(deployment, "approve", json_)


@app.command("cancel")
def cancel(deployment: Identity, json_: JsonFlag = False) -> None:
    """End a deployment early: its nodes go back to what they ran before."""
    _steer(deployment, "cancel", json_)


@app.command("rollback")
def rollback(deployment: Identity, json_: JsonFlag = False) -> None:
    """Take back a deployment that succeeded."""
    _steer(deployment, "rollback", json_)


@app.command("retry")
def retry(deployment: Identity, json_: JsonFlag = False) -> None:
    """Start a deployment that has ended again, as a new one."""
    _steer(deployment, "retry", json_)
