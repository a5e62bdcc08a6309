"""The commands `eyeflow coordinator ...`: start it, and let nodes and people in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli.console import JsonFlag, counted, iso_time, note, say, say_json, table
from eyeflow.cli.files import usage_error
from eyeflow.cli.interrupts import EndsAtOnce
from eyeflow.cli.logs import LogFormat, set_up_log

if TYPE_CHECKING:
    from eyeflow.client.log_check import Checked
    from eyeflow.coordinator.serve import Started
    from eyeflow.coordinator.tls import OwnTls

PORT_DEFAULT = 7700
STORE_ENV = "EYEFLOW_COORDINATOR_STORE"

app = typer.Typer(no_args_is_help=True, help="The service that keeps the state of the cluster.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="coordinator")


def data_home() -> Path:
    """Return where services of this user keep their data (XDG base directory specification)."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "eyeflow"


StoreUrl = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar=STORE_ENV,
        help="PostgreSQL database that several coordinators share: postgresql://USER@HOST/DATABASE. Its password "
        "belongs in this variable or in ~/.pgpass: what stands in a command, others see. Default: one SQLite file.",
    ),
]
ArchiveMb = Annotated[int, typer.Option("--archive-max-mb", min=64, help="Bound of the copies of the nodes' audit.")]
ArchiveDays = Annotated[
    int, typer.Option("--archive-max-days", min=0, help="Older records go from the copies; 0: only by size.")
]


@app.command("start")
def start(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = PORT_DEFAULT,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where it keeps its store (default: ~/.local/share/eyeflow).")
    ] = None,
    store: StoreUrl = "",
    archive_max_mb: ArchiveMb = 8192,
    archive_max_days: ArchiveDays = 0,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Private key of the certificate, PEM.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond loopback without TLS: another layer protects the network.")
    ] = False,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How to write the log.")] = LogFormat.TEXT,
    json_: JsonFlag = False,
) -> None:
    """Run the coordinator until Ctrl-C, SIGTERM or SIGHUP.

    The first start makes an admin token and tells how nodes join. Each of these signals ends it cleanly.
    """
    with EndsAtOnce():
        import asyncio

        from eyeflow.cli.keyring import open_keyring
        from eyeflow.client.profile import profile_path
        from eyeflow.coordinator.archive.database import Bounds
        from eyeflow.coordinator.serve import Exposure, ServeOptions, serve

    trusted = tuple((key.name, key.public_key) for key in open_keyring().trusted() if not key.revoked)
    options = ServeOptions(
        data_dir=data_dir or data_home() / "coordinator",
        host=host,
        port=port,
        exposure=Exposure.INSECURE if insecure else Exposure.SAFE,
        tls_cert=tls_cert,
        tls_key=tls_key,
        profile_path=profile_path(),
        trusted=trusted,
        store=store,
        archive=Bounds(archive_max_mb << 20, archive_max_days * 86_400_000_000),
    )
    set_up_log(log_format, verbose=False)
    asyncio.run(serve(options, lambda started: _tell(started, json_)))
    note("coordinator stopped")


def _tell(started: Started, as_json: bool) -> None:
    if as_json:
        facts = {
            "url": started.url,
            "coordinatorId": started.coordinator_id,
            "tokenFile": str(started.token_path),
            "firstStart": started.first_start,
            "nodes": started.nodes,
        }
        say_json(facts, indent=None)
    else:
        say(f"coordinator {started.coordinator_id[:16]} listens on {started.url}  ({counted(started.nodes, 'node')})")
        if started.first_start:
            say(f"  admin token      {started.token_path}")
        if started.profile_written:
            say("  this user's eyeflow commands use it from now on")
        say("  let a node join  eyeflow coordinator join-token, then on the node: eyeflow node join URL --token TOKEN")
    sys.stdout.flush()


@app.command("init")
def init(
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Host name or address at which nodes and people reach it; may be repeated."),
    ] = None,
    new_ca: Annotated[
        bool, typer.Option("--new-ca", help="Replace the CA. Nodes follow by themselves; the old one vouches for it.")
    ] = False,
    forget_old_ca: Annotated[
        bool, typer.Option("--forget-old-ca", help="Take no certificate of an earlier CA any more.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where it keeps its store (default: ~/.local/share/eyeflow).")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Make a CA of the cluster's own and a server certificate: from then on everything goes over TLS.

    Again, it shows both, or makes a new certificate for other names. A coordinator that runs sees it within seconds.
    """
    from eyeflow.base.clock import wall_clock_us
    from eyeflow.coordinator.tls import init_tls, open_tls, server_names

    directory, now_us = data_dir or data_home() / "coordinator", wall_clock_us()
    names = server_names(name or ())
    tls = open_tls(directory)
    first = tls is None
    if tls is None:
        tls = init_tls(directory, names, now_us)
    elif new_ca:
        tls.replace_authority(now_us)
    elif forget_old_ca:
        tls.forget_earlier(now_us)
    if name and not first:
        tls.make_server(names, now_us)
    tls.prepare(now_us)
    _tell_tls(tls, first, json_)


def _tell_tls(tls: OwnTls, first: bool, as_json: bool) -> None:
    server = tls.server_facts()
    if as_json:
        facts = {
            "fingerprint": tls.fingerprint,
            "caFile": str(tls.ca_file),
            "names": list(server.names),
            "serverUntilUs": server.until_us,
            "made": first,
        }
        say_json(facts)
        return
    say(f"CA  {tls.fingerprint}")
    say(f"  file         {tls.ca_file}  for those who shall trust it")
    say(f"  certificate  for {', '.join(server.names)}, until {iso_time(server.until_us)[:10]}; it renews itself")
    if first:
        note("start the coordinator (again): eyeflow coordinator start --host 0.0.0.0")
        note(
            "nodes that joined without TLS join once more; people use: eyeflow coordinator login URL --fingerprint ..."
        )


DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Where it keeps its store (default: ~/.local/share/eyeflow).")
]


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="The new file: backup.tar.")],
    data_dir: DataDirOption = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="With the second copy of the nodes' audit; it may be large.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Write the coordinator's store, keys and CA to one file, also while it runs.

    Keep it as you keep a private key. With PostgreSQL it holds the keys and the CA: `pg_dump` copies the database.
    """
    from eyeflow.base.machine import Machine
    from eyeflow.coordinator.backup import back_up

    made = back_up(data_dir or data_home() / "coordinator", file, Machine(), with_archive=archive)
    size_bytes = file.stat().st_size
    if json_:
        shown = {"file": str(file), "sizeBytes": size_bytes, "files": list(made.files), "nodes": made.nodes}
        say_json(shown | {"coordinatorId": made.coordinator_id})
        return
    what = f"{counted(made.nodes, 'node')} of cluster {made.coordinator_id[:16]}" if made.coordinator_id else "keys"
    say(f"{file}  {size_bytes} bytes: {what}")
    if not made.coordinator_id:
        note("the store is in PostgreSQL: copy it with pg_dump")


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `eyeflow coordinator backup` wrote.")],
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """Put a backup back while the coordinator does not run. What was there is kept beside it.

    Nodes get what the backup says, with numbers above those that they have. Nodes that joined since join again, and
    tokens and keys that were revoked since must be revoked again.
    """
    from eyeflow.base.clock import wall_clock_us
    from eyeflow.base.machine import Machine
    from eyeflow.coordinator.backup import restore as put_back

    directory = data_dir or data_home() / "coordinator"
    done = put_back(file, directory, Machine(), wall_clock_us())
    if json_:
        kept = str(done.kept) if done.kept is not None else ""
        facts = {"dataDir": str(directory), "coordinatorId": done.coordinator_id, "nodes": done.nodes, "kept": kept}
        say_json(facts)
        return
    say(f"{directory}  {counted(done.nodes, 'node')} of cluster {done.coordinator_id[:16]}")
    if done.kept is not None:
        say(f"  what was there  {done.kept}")
    note("start it: eyeflow coordinator start. Then revoke again what was revoked since the backup")


@app.command("join-token")
def join_token(
    valid: Annotated[str, typer.Option("--valid", metavar="DURATION", help="How long it can be used.")] = "1h",
    json_: JsonFlag = False,
) -> None:
    """Make a token with which one node can join the cluster, once."""
    from eyeflow.cli.cluster import connect
    from eyeflow.cli.durations import whole_seconds
    from eyeflow.coordinator.tokens import JOIN_TOKEN_S_MAX

    valid_s = whole_seconds("--valid", valid, JOIN_TOKEN_S_MAX, "write for example --valid 30min")
    with connect() as client:
        token, url = client.create_join_token(valid_s), client.url
    if json_:
        say_json(token)
        return
    say(str(token["token"]))
    note(f"valid for {valid}, for one node: eyeflow node join {url} --token {token['token']}")


@app.command("sign-in")
def sign_in(json_: JsonFlag = False) -> None:
    """Make a link that signs a browser in to the dashboard once, with the rights of your token."""
    from eyeflow.cli.cluster import connect

    with connect() as client:
        made = client.create_sign_in_link()
        link = f"{client.url.rstrip('/')}{made['path']}"
    if json_:
        say_json({"link": link, "expiresUs": made["expiresUs"]})
        return
    say(link)
    note(f"open it in a browser until {iso_time(made['expiresUs'])}; it works once")


@app.command("sign-out")
def sign_out(json_: JsonFlag = False) -> None:
    """End all sessions of browsers that your token began, and let its sign-in links work no more."""
    from eyeflow.cli.cluster import connect

    with connect() as client:
        client.end_sessions()
    if json_:
        say_json({"signedOut": True})
    else:
        note("no browser is signed in with this token any more")


@app.command("log")
def log(
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=10_000, help="How many entries to show.")] = 50,
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="Only what this token or node did.")] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the whole log, also against what you saw at the last check.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Show who changed what, or check that nobody changed the log itself."""
    from eyeflow.cli.cluster import connect
    from eyeflow.client.log_check import SeenHeads, check_log

    with connect() as client:
        if verify:
            _tell_checked(check_log(client, SeenHeads()), json_)
            return
        entries = client.newest_log_entries(last, who)[::-1]
    if json_:
        say_json(entries)
        return
    rows = [[str(one["number"]), iso_time(one["timeUs"]), one["actor"], _what(one)] for one in entries]
    table(["NUMBER", "TIME", "WHO", "WHAT"], rows)


def _what(entry: dict[str, Any]) -> str:
    return " ".join(filter(None, (entry["action"], entry["subject"], entry["detail"])))


def _tell_checked(checked: Checked, as_json: bool) -> None:
    seen = checked.seen.number if checked.seen is not None else 0
    if as_json:
        facts = {"holds": True, "first": checked.first, "last": checked.head.number, "head": checked.head.hash.hex()}
        say_json({**facts, "signed": checked.signed, "seen": seen})
        return
    say(f"the log holds: entries {checked.first} to {checked.head.number}, signed up to {checked.signed}")
    say(f"  head  {checked.head.hash.hex()}")
    note(f"it continues what you saw at the last check, up to entry {seen}" if seen else "this is your first check")


@app.command("login")
def login(
    url: Annotated[str, typer.Argument(help="The coordinator: http://127.0.0.1:7700.")],
    ca_file: Annotated[str, typer.Option("--ca-file", help="PEM file that signs the coordinator's certificate.")] = "",
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Of the coordinator's CA, from `eyeflow coordinator init`.")
    ] = "",
) -> None:
    """Keep where the coordinator is and an API token (asked for, or EYEFLOW_TOKEN) for this user's commands."""
    import asyncio

    from eyeflow.cli.questions import ask_secret
    from eyeflow.client.pinned import FINGERPRINT, fetch_ca
    from eyeflow.client.profile import ENV_TOKEN, ClientProfile, profile_path
    from eyeflow.client.rest import CoordinatorClient

    if fingerprint:
        if not FINGERPRINT.fullmatch(fingerprint):
            raise usage_error(
                "--fingerprint is not one of a CA", "copy the 64 hex digits of `eyeflow coordinator init`"
            )
        ca_file = _keep_ca(asyncio.run(fetch_ca(url, fingerprint)))
    with CoordinatorClient(url, "", ca_file) as client:
        client.look_for()
    token = ask_secret("API token", ENV_TOKEN)
    with CoordinatorClient(url, token, ca_file) as client:
        client.status()
    path = profile_path()
    if path.is_dir():
        raise EyeflowError(f"{path} is a folder", next_step="remove it", code="bad_profile")
    ClientProfile(url.rstrip("/"), token, ca_file).write(path)
    note(f"kept in {path}")


def _keep_ca(ca: str) -> str:
    """Keep a CA beside the client profile and return its file."""
    from eyeflow.client.profile import profile_path, write_secret

    path = profile_path().with_name("ca.pem")
    write_secret(path, ca)
    return str(path)
