"""The commands `eyeflow keys ...`: signing keys and which keys to trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.cli import keys_root
from eyeflow.cli.console import JsonFlag, note, say, say_json, table
from eyeflow.cli.keyring import PASSPHRASE_ENV, open_keyring
from eyeflow.cli.questions import ask_secret

if TYPE_CHECKING:
    from eyeflow.client.keyring import TrustedKey

app = typer.Typer(no_args_is_help=True, help="Signing keys, and whose programs to trust.", rich_markup_mode=None)
app.add_typer(keys_root.app, name="root")


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="keys")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the key.")] = "default",
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Encrypt the key file; asks, or reads EYEFLOW_PASSPHRASE.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Make a signing key, and trust it on this machine."""
    keyring = open_keyring()
    key = keyring.new(name, ask_secret("passphrase", PASSPHRASE_ENV, twice=True) if passphrase else None)
    keyring.trust(key.public_key, name)
    if json_:
        say_json(
            {"name": name, "fingerprint": key.fingerprint, "publicKey": key.public_key.hex(), "file": str(key.path)}
        )
        return
    say(f"{name}  {key.fingerprint}")
    say(f"  private  {key.path}  keep it secret, back it up")
    say(f"  public   {key.public_key.hex()}  give it to those who shall trust your programs,")
    say(f"           or the file {key.path.with_suffix('.pub')}")


@app.command("list")
def list_(json_: JsonFlag = False) -> None:
    """List your signing keys and the keys you trust."""
    keyring = open_keyring()
    own, trusted = keyring.list(), keyring.trusted()
    if json_:
        say_json(
            {
                "signing": [_key(key) for key in own],
                "trusted": [{**_key(key), "added": key.added.isoformat(), "revoked": key.revoked} for key in trusted],
            }
        )
        return
    if not own and not trusted:
        note("no keys yet: make one with `eyeflow keys new`")
        return
    rows = [[key.name, key.fingerprint, "can sign", key.problem] for key in own]
    rows += [[key.name, key.fingerprint, _standing(key), ""] for key in trusted]
    table(["KEY", "FINGERPRINT", "USE", "PROBLEM"], rows)


def _key(key: Any) -> dict[str, Any]:
    return {"name": key.name, "fingerprint": key.fingerprint, "publicKey": key.public_key.hex()}


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of a key of yours, or of one that you trust.")] = "default",
    json_: JsonFlag = False,
) -> None:
    """Show the public part of a key."""
    keyring = open_keyring()
    others = [one for one in keyring.trusted() if one.name == name]
    if others and all(one.name != name for one in keyring.list()):
        _show_other(others[0], json_)
        return
    key = keyring.show(name)
    if json_:
        say_json({**_key(key), "file": str(key.path), "problem": key.problem})
        return
    say(f"{key.name}  {key.fingerprint}")
    say(f"  public   {key.public_key.hex()}")
    say(f"  file     {key.path}{f'  ({key.problem})' if key.problem else ''}")


def _show_other(key: TrustedKey, as_json: bool) -> None:
    """Show a key of somebody else, of which there is no file here."""
    if as_json:
        say_json({**_key(key), "file": "", "problem": "it is revoked" if key.revoked else ""})
        return
    say(f"{key.name}  {key.fingerprint}  {_standing(key)}")
    say(f"  public   {key.public_key.hex()}")


def _standing(key: TrustedKey) -> str:
    return "revoked" if key.revoked else f"trusted since {key.added}"


@app.command("trust")
def trust(
    key: Annotated[str, typer.Argument(help="A public key in hex, or a .pub or PEM file.")],
    name: Annotated[str, typer.Option("--name", help="What to call it here.")],
    cluster: Annotated[bool, typer.Option("--cluster", help="Also let the coordinator's cluster trust it.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Trust the programs that a key signs."""

    def in_the_cluster(entry: TrustedKey) -> None:
        if cluster:
            from eyeflow.cli.cluster import connect

            with connect() as client:
                client.trust_key(entry.public_key, name)

    entry = open_keyring().trust(Path(key) if Path(key).exists() else key, name, in_the_cluster)
    if json_:
        say_json({**_key(entry), "cluster": cluster})
    else:
        say(f"trusted {entry.name}  {entry.fingerprint}{'  here and in the cluster' if cluster else ''}")


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name, fingerprint or public key of a trusted key.")],
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Also let the coordinator's cluster trust it no more.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Trust a key no more."""

    def in_the_cluster(entry: TrustedKey) -> None:
        if cluster:
            from eyeflow.cli.cluster import connect

            with connect() as client:
                client.revoke_key(entry.public_key)

    entry = open_keyring().revoke(name, in_the_cluster)
    if json_:
        say_json({**_key(entry), "cluster": cluster})
    else:
        say(f"revoked {entry.name}  {entry.fingerprint}{'  here and in the cluster' if cluster else ''}")
