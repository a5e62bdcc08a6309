"""The commands `eyeflow keys root ...`: an offline key that says whose programs nodes may trust."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli.console import JsonFlag, iso_time, note, say, say_json
from eyeflow.cli.durations import whole_seconds
from eyeflow.cli.files import read_bytes, usage_error, write_bytes
from eyeflow.cli.keyring import PASSPHRASE_ENV, open_keyring, private_key
from eyeflow.cli.questions import ask_secret

if TYPE_CHECKING:
    from eyeflow.protocol.signer_list import SignerList, Threshold

ROOT, FILE = "root", Path("signers.json")
VALID_S_MAX = 10 * 365 * 86_400

app = typer.Typer(
    no_args_is_help=True, help="An offline key that says whose programs nodes may trust.", rich_markup_mode=None
)

FileArgument = Annotated[Path, typer.Argument(help="The list of signers.")]


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the root key.")] = ROOT,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Encrypt the key file; asks, or reads EYEFLOW_PASSPHRASE.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Make a root key. It signs lists of signers and no programs; keep it off every machine that runs."""
    key = open_keyring().new(name, ask_secret("passphrase", PASSPHRASE_ENV, twice=True) if passphrase else None)
    if json_:
        say_json({"name": name, "publicKey": key.public_key.hex(), "file": str(key.path)})
        return
    say(f"{name}  {key.public_key.hex()}")
    note(f"private part: {key.path}. Keep it offline, and a copy of it")
    note(f'on each node: [trust] root_keys = ["{key.public_key.hex()}"]')


@app.command("sign")
def sign(
    file: FileArgument = FILE,
    signer: Annotated[
        list[str] | None, typer.Option("--signer", help="A key in hex, or a .pub file; may be repeated. All of them.")
    ] = None,
    need: Annotated[
        list[str] | None,
        typer.Option(
            "--need",
            metavar="NUMBER[:WHERE]",
            help="How many of them sign each program: 2, or 2:rule=pump*,node=node-prod-*,label=site=lyon where all of "
            "that fits; may be repeated. 1 ends it.",
        ),
    ] = None,
    key: Annotated[str, typer.Option("--key", help="Name of the root key.")] = ROOT,
    valid: Annotated[
        str, typer.Option("--valid", metavar="DURATION", help="How long nodes take new programs by it; or forever.")
    ] = "365d",
    json_: JsonFlag = False,
) -> None:
    """Sign the list of those who may sign programs. It replaces the list in the file, with the next version.

    Without `--signer` the same signers are signed again, and without `--need` as many are needed as before.
    """
    from eyeflow.base.clock import wall_clock_us
    from eyeflow.client.keyring import read_public_key
    from eyeflow.protocol.identity import Identity
    from eyeflow.protocol.signer_list import make_list

    valid_s = 0 if valid == "forever" else whole_seconds("--valid", valid, VALID_S_MAX, "write --valid 365d or forever")
    before = _read(file) if file.exists() else None
    if before is None and not signer:
        raise EyeflowError("a first list needs signers", next_step="name them: --signer anna.pub", code="no_signers")
    signers = {read_public_key(Path(one) if Path(one).exists() else one) for one in signer or ()}
    if before is not None and not signer:
        signers = set(before.signers)
    thresholds = before.thresholds if need is None and before is not None else thresholds_of(need or ())
    _check_enough(thresholds, len(signers))
    root, now_us = Identity(private_key(key)), wall_clock_us()
    version = before.version + 1 if before is not None else 1
    expires_us = now_us + valid_s * 1_000_000 if valid_s else 0
    made = make_list(version, now_us, expires_us, signers, root.public_key, root.sign, thresholds)
    write_bytes(file, made.text().encode())
    _tell(made, json_)
    note(f"bring it to the coordinator: eyeflow keys root publish {file}")


def thresholds_of(texts: Sequence[str]) -> tuple[Threshold, ...]:
    """Return what `--need` says. Raises EyeflowError for what it cannot say."""
    found = (_threshold(text) for text in texts)
    return tuple(sorted({one for one in found if one.signers > 1}))


def _threshold(text: str) -> Threshold:
    from eyeflow.protocol.signer_list import Threshold, fault_of

    number, colon, where = text.partition(":")
    patterns, labels = {"node": "*", "rule": "*"}, {}
    for part in where.split(",") if colon else ():
        kind, _, value = part.strip().partition("=")
        if kind == "label":
            name, _, label = value.partition("=")
            labels[name] = label
        elif kind in patterns:
            patterns[kind] = value
        else:
            raise _bad_need(text, f"`{part.strip()}` begins with none of node=, rule= and label=")
    signers = int(number) if number.isdecimal() and len(number) < 3 else 0
    made = Threshold(signers, patterns["node"], patterns["rule"], tuple(sorted(labels.items())))
    if signers != 1 and (fault := fault_of(made)):
        raise _bad_need(text, fault)
    return made


def _bad_need(text: str, cause: str) -> EyeflowError:
    return usage_error(f"--need {text}: {cause}", "write --need 2, or --need 2:rule=pump*,node=node-prod-*")


def _check_enough(thresholds: Sequence[Threshold], signers: int) -> None:
    most = max((one.signers for one in thresholds), default=1)
    if signers < most:
        raise EyeflowError(
            f"the list names {signers} signers, and a program would need {most} of them",
            cause="no program could run there",
            next_step="name more signers, or need fewer: --need 1 asks for one everywhere",
            code="no_signers",
        )


@app.command("show")
def show(file: FileArgument = FILE, json_: JsonFlag = False) -> None:
    """Show a list of signers, and check that its root has signed it."""
    _tell(_read(file), json_)


@app.command("publish")
def publish(file: FileArgument = FILE, json_: JsonFlag = False) -> None:
    """Give a signed list to the coordinator, which hands it on to its nodes. Needs an admin token, and no root key."""
    import json

    from eyeflow.cli.cluster import connect

    made = _read(file)
    with connect() as client:
        client.publish_signer_list(json.loads(made.text()))
    if json_:
        say_json(json.loads(made.text()))
    else:
        say(f"published version {made.version}: {len(made.signers)} signers")


def _read(file: Path) -> SignerList:
    from eyeflow.protocol.signer_list import SignerListError, parse_list

    try:
        return parse_list(read_bytes(file))
    except SignerListError as error:
        raise EyeflowError(
            f"{file} is no list of signers",
            cause=f"{error}",
            next_step="sign it again: eyeflow keys root sign FILE --signer KEY",
            code="bad_signer_list",
            exit_code=ExitCode.PROBLEMS,
        ) from error


def _tell(made: SignerList, as_json: bool) -> None:
    if as_json:
        import json

        say_json(json.loads(made.text()))
        return
    until = iso_time(made.expires_us)[:10] if made.expires_us else "for ever"
    say(f"version {made.version}, until {until}, signed by the root {made.root.hex()}")
    from eyeflow.cli.keyring import names_by_key

    names = names_by_key()
    for signer in made.signers:
        say(f"  {signer.hex()}  {names.get(signer, '')}".rstrip())
    for one in made.thresholds:
        labels = "".join(f", label {name}={value}" for name, value in one.labels)
        say(f"  {one.signers} of them sign each program: node {one.nodes}, rule {one.rules}{labels}")
