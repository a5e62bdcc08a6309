"""The commands `eyeflow policy ...`: what deployments to some nodes must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeflow.cli.console import JsonFlag, iso_time, note, say, say_json, table

app = typer.Typer(no_args_is_help=True, help="What deployments to some nodes must keep.", rich_markup_mode=None)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The policy, in TOML.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="policy")


@app.command("show")
def show(json_: JsonFlag = False) -> None:
    """Show the policy that holds now."""
    from eyeflow.cli.cluster import connect

    with connect() as client:
        policy = client.policy()
    if json_:
        say_json(policy)
    elif not policy["text"]:
        note("no policy: every deployment is allowed; apply one with `eyeflow policy apply FILE`")
    else:
        for line in policy["text"].splitlines():
            say(line)
        note(f"applied {iso_time(policy['appliedUs'])} by {policy['appliedBy']}")


@app.command("check")
def check(file: FileArgument, json_: JsonFlag = False) -> None:
    """Check a policy and show which nodes each demand is for; nothing changes."""
    from eyeflow.cli.cluster import connect

    text = _text(file)
    with connect() as client:
        policy = client.set_policy(text, only_checks=True)
    _say(policy, json_)


@app.command("apply")
def apply(file: FileArgument, json_: JsonFlag = False) -> None:
    """Make a file the policy: it holds for deployments asked for from now on. An empty file demands nothing."""
    from eyeflow.cli.cluster import connect

    text = _text(file)
    with connect() as client:
        policy = client.set_policy(text)
    _say(policy, json_)


def _text(path: Path) -> str:
    from eyeflow.cli.files import read_bytes, usage_error

    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise usage_error(f"{path} is not UTF-8", "save it as UTF-8") from None


def _say(policy: dict[str, Any], json_: bool) -> None:
    if json_:
        say_json(policy)
        return
    rows = [
        [f"{one['line']}", one["name"], _demanded(one), ", ".join(one["nodes"]) or "-"] for one in policy["demands"]
    ]
    table(["LINE", "DEMAND", "WHAT", "NODES"], rows)
    for one in policy["demands"]:
        if not one["nodes"]:
            note(f"`{one['name']}` is for no node that is in the cluster now")


def _demanded(one: dict[str, Any]) -> str:
    from eyeflow.base.duration import format_duration

    parts = [" or ".join(one["strategies"])]
    parts.append(f"watch {format_duration(one['observeS'] * 1_000_000)}" if one["observeS"] else "")
    parts.append(f"{one['signers']} signers" if one["signers"] else "")
    parts.append("approval" if one["approval"] else "")
    return ", ".join(part for part in parts if part)
