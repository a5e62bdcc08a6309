"""The commands `eyeflow node ...`: set a node up, let it join a cluster, run it, look at it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.collector import spare_what_stays
from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.cli import node_boards
from eyeflow.cli.console import JsonFlag, colored, counted, iso_time, note, paint, progress, say, say_json, table
from eyeflow.cli.files import usage_error, write_bytes
from eyeflow.cli.interrupts import EndsAtOnce
from eyeflow.cli.logs import LogFormat, set_up_log
from eyeflow.cli.node_options import CONFIG_NAME, SETTING_FLAGS, ConfigOption, load_node_config

if TYPE_CHECKING:
    from eyeflow.node.runtime import NodeRuntime

UNITS = Path("/etc/systemd/system")

app = typer.Typer(no_args_is_help=True, help="The daemon that runs programs.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(node_boards.app, name="boards")
    root.add_typer(app, name="node")


@app.command("init")
def init(
    name: Annotated[str, typer.Argument(help="Name of the node in the cluster: node-prod-01.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path(CONFIG_NAME),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a configuration file with comments."""
    from eyeflow.node.config.sections import NAME
    from eyeflow.node.config.template import config_template

    if not NAME.fullmatch(name):
        raise usage_error(
            f"{name!r} is no name for a node", "at most 63 letters, digits, `-`, `_` and `.`, not starting with a sign"
        )
    if out.exists() and not force:
        raise usage_error(f"{out} exists", "edit it, or overwrite it with --force")
    write_bytes(out, config_template(name).encode())
    note(f"wrote {out}: edit it, then eyeflow node start --config {out}")


@app.command("join", context_settings=SETTING_FLAGS)
def join(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="The coordinator: http://127.0.0.1:7700.")],
    token: Annotated[str, typer.Option("--token", help="Join token, from `eyeflow coordinator join-token`.")],
    config: ConfigOption = None,
    json_: JsonFlag = False,
) -> None:
    """Let a node join a cluster: registers its key, and trusts the keys that the cluster trusts."""
    from eyeflow.node.cluster.membership import Membership, join_cluster
    from eyeflow.node.own_key import load_identity

    settings = load_node_config(config, context.args)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = load_identity(settings.data_dir)
    ca_file = str(settings.coordinator.ca_file or "")
    joined = join_cluster(url, token, settings.name, identity.sign, identity.public_key, ca_file)
    Membership(settings.data_dir).join(joined)
    if json_:
        say_json({"node": settings.name, "url": joined.url, "coordinatorId": joined.coordinator_id})
        return
    say(f"{settings.name} has joined the cluster of {joined.coordinator_id[:16]} at {joined.url}")
    note(_after_join(settings.data_dir, config))


def _after_join(data_dir: Path, config: Path | None) -> str:
    """Return what to do next: a node that runs takes up its membership when it starts."""
    from eyeflow.node.status.local_socket import fetch_status

    command = "eyeflow node start" if config is None else f"eyeflow node start --config {config}"
    try:
        fetch_status(data_dir)
    except EyeflowError as error:
        if error.code == "node_not_running":
            return f"now start it: {command}"
    return f"it runs without the cluster until you stop it and start it again: {command}"


@app.command("kafka-setup", context_settings=SETTING_FLAGS)
def kafka_setup(
    context: typer.Context,
    config: ConfigOption = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A folder with the jars, for a machine without a network.", exists=True, file_okay=False
        ),
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="Where it goes, whatever the configuration says.", file_okay=False)
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Bring Apache Kafka here, for a node with a broker of its own: buffer_backend = "kafka_embedded".

    It needs Java 17 or newer. Without --from it is fetched by Maven, once, about 40 MB.
    """
    from eyeflow.node.broker.home import set_up
    from eyeflow.node.broker.settings import EmbeddedSection

    if home is None:
        settings = load_node_config(config, context.args)
        embedded, place = settings.embedded, settings.embedded.home or settings.data_dir / "kafka" / "home"
    else:
        embedded, place = EmbeddedSection(), home.resolve()
    with progress("setting Kafka up; that takes up to a minute"):
        found = set_up(place, embedded.java, source, note)
    if json_:
        say_json({"home": str(found.directory), "version": found.version, "jars": len(found.jars)})
        return
    say(f"Apache Kafka {found.version} is in {found.directory}")


@app.command("start", context_settings=SETTING_FLAGS)
def start(
    context: typer.Context,
    config: ConfigOption = None,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How to write the log.")] = LogFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the node until Ctrl-C, SIGTERM or SIGHUP. It needs no coordinator.

    Every setting of the file is a flag too: --offline-max-buffer-size-mb 64.

    A signal ends it cleanly. None lets it read its settings again: start it anew for that.
    """
    with EndsAtOnce():
        import asyncio

        from eyeflow.node.daemon import run_node
        from eyeflow.node.service.manager import ServiceManager

    settings = load_node_config(config, context.args)
    set_up_log(log_format, verbose=verbose)
    asyncio.run(run_node(settings, on_ready=_tell_ready, manager=ServiceManager.of(os.environ)))
    note("node stopped")


def _tell_ready(node: NodeRuntime) -> None:
    spare_what_stays()
    rules = ", ".join(sorted(map(str, node.engine.core.rules))) or "no rules yet"
    note(f"node {node.identity.name} runs: {rules}")


@app.command("install-service")
def install_service(
    config: ConfigOption = None,
    user: Annotated[str, typer.Option("--user", help="Who runs the node (default: you).")] = "",
    write: Annotated[bool, typer.Option("--write", help=f"Write it into {UNITS}, instead of to stdout.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Print the systemd unit of a node, or write it: it starts at boot, is watched, and is kept in a sandbox.

    Its settings are those of the file: the service has neither the flags nor the variables of this terminal.
    """
    import getpass

    from eyeflow.node.config.config import load_config
    from eyeflow.node.service.unit import service_of

    file = (config or Path(CONFIG_NAME)).resolve()
    if not file.exists():
        raise usage_error(f"there is no {file}", "name the node's file with --config, or write one: eyeflow node init")
    settings = load_config(file)
    service = service_of(settings, file, (sys.executable, "-m", "eyeflow"), user or getpass.getuser())
    path = UNITS / service.unit
    if write:
        _write_unit(path, service.text)
        _make_data_dir(settings.data_dir, user)
    if json_:
        say_json({"unit": service.unit, "text": service.text, "path": str(path) if write else ""})
    elif write:
        say(f"wrote {path}")
        note(f"now: systemctl daemon-reload && systemctl enable --now {service.unit}")
    else:
        for line in service.text.rstrip().split("\n"):
            say(line)


def _make_data_dir(path: Path, user: str) -> None:
    """The sandbox lets the node write here, and not make it."""
    import shutil

    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if user:
            shutil.chown(path, user)
    except (OSError, LookupError) as error:
        raise EyeflowError(
            f"the directory {path} of the node is not ready for {user or 'you'}",
            cause=why(error),
            next_step="name a user that exists, and run this as root",
            code="data_dir",
        ) from error


def _write_unit(path: Path, text: str) -> None:
    """Somebody else's unit of this name stays what it is."""
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(text.split("\n", 1)[0]):
        raise EyeflowError(
            f"{path} is not from this command",
            cause="it does not begin with the line that `eyeflow node install-service` writes",
            next_step=f"look at it, and move it away: mv {path} {path}.old",
            code="foreign_unit",
        )
    write_bytes(path, text.encode())


@app.command("status", context_settings=SETTING_FLAGS)
def status(context: typer.Context, config: ConfigOption = None, json_: JsonFlag = False) -> None:
    """Show the node that runs on this machine; needs no coordinator."""
    from eyeflow.node.status.local_socket import fetch_status

    facts = fetch_status(load_node_config(config, context.args).data_dir)
    if json_:
        say_json(facts)
        return
    coordinator = facts["coordinator"]
    say(f"{paint(facts['node'], '1', sys.stdout)}  up {facts['uptime']}  epoch {facts['epoch']}")
    name = f"coordinator {coordinator['url']}".rstrip()
    say(f"{name}: {colored(coordinator['state'])}  {coordinator['detail']}".rstrip())
    _say_trust(facts["trust"])
    audit, store = facts["audit"], facts["store"]
    say(f"audit: {counted(audit['lastSeq'], 'record')}; store: {store['sizeBytes'] / 1e6:.1f} MB, {store['state']}")
    overload = facts["overload"]
    if overload["state"] != "up":
        say(f"overload: {colored(overload['state'])}  {overload['detail']}; {overload['shed']} events rejected")
    _say_rules(facts["rules"])
    _say_taken_back(facts["takenBack"])
    for kind in ("sources", "drivers", "services"):
        for port in facts[kind]:
            counters = ", ".join(f"{name} {value}" for name, value in port["counters"].items() if value)
            told = "".join(f"  {text}" for text in (port["detail"], counters) if text)
            say(f"{kind[:-1]} {port['name']}: {colored(port['state'])}{told}")


def _say_trust(trust: dict[str, Any]) -> None:
    """Only of a node with a root: its list must be signed again in time."""
    if not trust["roots"]:
        return
    if not trust["listVersion"]:
        say("signers: no list of a root came yet, so no program of the cluster runs here")
        return
    until = f"until {iso_time(trust['listExpiresUs'])[:10]}" if trust["listExpiresUs"] else "for ever"
    problem = f"  {trust['problem']}" if trust["problem"] else ""
    say(
        f"signers: {counted(trust['signers'], 'trusted key')}, list {trust['listVersion']} of the root {until}{problem}"
    )


def _say_rules(rules: list[dict[str, Any]]) -> None:
    if not rules:
        note("no rules yet")
        return
    rows = [
        [
            rule["rule"] if rule["slot"] == "active" else f"{rule['rule']} ({rule['slot']})",
            rule.get("version", ""),
            rule["state"],
            str(rule.get("executions", 0)),
            str(rule.get("actions", 0)),
            str(rule.get("trapped", 0)),
            str(rule.get("rejected", 0)),
            rule["lastError"] or "",
        ]
        for rule in rules
    ]
    table(["RULE", "VERSION", "STATE", "EXECUTIONS", "ACTIONS", "TRAPPED", "REJECTED", "LAST ERROR"], rows)


def _say_taken_back(programs: list[dict[str, Any]]) -> None:
    for one in programs:
        name = one["rule"] if one["slot"] == "active" else f"{one['rule']} ({one['slot']})"
        program = f"program {one['programId'][:12]} of deployment {one['deployment']}"
        say(f"{name}: {colored('failed')}  {program} failed its trial and was taken back: {one['reason']}")
