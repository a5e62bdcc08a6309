"""The commands `eyeflow tokens ...`: who may use the coordinator, for what and until when."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.cli.console import JsonFlag, iso_time, note, say, say_json, table

FOREVER = "forever"
NAME_CHARS_MAX = 64

app = typer.Typer(no_args_is_help=True, help="Who may use the coordinator, and for what.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="tokens")


class Role(Enum):
    """What an API token may do; each role includes the ones below it."""

    ADMIN = "admin"
    DEPLOY = "deploy"
    READ = "read"


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Whom or what the token is for: ci-main. It says who did what.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do.")] = Role.DEPLOY,
    valid: Annotated[
        str, typer.Option("--valid", metavar="DURATION", help=f"How long it works: 8h, 90d, or {FOREVER}.")
    ] = "90d",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Only for nodes with this label; again: and this one."),
    ] = None,
    person: Annotated[
        str, typer.Option("--person", help="Whose it is, when a person has several: nobody approves what they asked.")
    ] = "",
    json_: JsonFlag = False,
) -> None:
    """Make an API token for a person or a CI job; it is shown once."""
    from eyeflow.cli.choosing import labels_of
    from eyeflow.cli.cluster import connect
    from eyeflow.cli.files import usage_error

    labels = labels_of(label or [])
    if labels and role is Role.ADMIN:
        raise usage_error("an admin's token is for the whole cluster", "leave --label away, or choose --role deploy")

    valid_s = _valid_s(valid)
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise usage_error(f"the name of a token has 1 to {NAME_CHARS_MAX} characters", "choose another name")
    with connect() as client:
        token = client.create_token(name, role.value, valid_s, labels, person)
    if json_:
        say_json(token)
    else:
        say(str(token["token"]))
        until = f"until {iso_time(token['expiresUs'])}" if token["expiresUs"] else "until it is revoked"
        where = f" on nodes with {_labels(token)}" if labels else ""
        note(f"shown this once; may {role.value}{where}, {until}. Use it as EYEFLOW_TOKEN")


def _valid_s(text: str) -> int:
    from eyeflow.cli.durations import whole_seconds
    from eyeflow.coordinator.tokens import TOKEN_S_MAX

    if text == FOREVER:
        return 0
    return whole_seconds("--valid", text, TOKEN_S_MAX, f"write for example --valid 30d, or --valid {FOREVER}")


@app.command("list")
def list_(json_: JsonFlag = False) -> None:
    """List the API tokens, never their secrets."""
    from eyeflow.cli.cluster import connect

    with connect() as client:
        tokens = client.tokens()
    if json_:
        say_json(tokens)
        return
    headers = ["NAME", "ID", "ROLE", "NODES", "PERSON", "STATE", "EXPIRES", "LAST USED"]
    table(headers, [_row(token) for token in tokens])


def _row(token: dict[str, Any]) -> list[str]:
    expires = iso_time(_whole_s(token["expiresUs"])) if token["expiresUs"] else "never"
    used = iso_time(_whole_s(token["usedUs"])) if token["usedUs"] else "never"
    where = _labels(token) or "all"
    return [token["name"], token["id"], token["role"], where, token["person"] or "-", _state(token), expires, used]


def _state(token: dict[str, Any]) -> str:
    if token["works"]:
        return "works"
    return "revoked" if token["revokedUs"] else "expired"


def _labels(token: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(token["labels"].items()))


def _whole_s(time_us: int) -> int:
    return time_us - time_us % 1_000_000


@app.command("revoke")
def revoke(
    token: Annotated[str, typer.Argument(help="Name or id of the token.")],
    json_: JsonFlag = False,
) -> None:
    """Let an API token work no more, from this moment."""
    from eyeflow.cli.cluster import connect

    with connect() as client:
        chosen = _chosen(token, client.tokens())
        client.revoke_token(chosen["id"])  # it may be our own: nothing can be asked any more
    if json_:
        say_json({"id": chosen["id"], "name": chosen["name"], "works": False})
    else:
        say(f"revoked {chosen['name']}  {chosen['id']}")


def _chosen(text: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the token of an id, or the one of a name that works: there is one at most."""
    for one in tokens:
        if one["id"] == text or (one["name"] == text and one["works"]):
            return one
    guess = near(text, [one["name"] for one in tokens if one["works"]])
    raise EyeflowError(
        f"no token that works has the name or id `{text}`",
        cause="the coordinator lists none",
        next_step=f"did you mean {guess}?" if guess else "see them with `eyeflow tokens list`",
        code="not_found",
        exit_code=ExitCode.PROBLEMS,
    )
