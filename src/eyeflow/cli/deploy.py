"""Commands on the cluster: deploy, status, deployments, nodes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import compiling, rollout_options
from eyeflow.cli.cluster import connect
from eyeflow.cli.console import JsonFlag, colored, finish, note, paint, say, say_json, table
from eyeflow.cli.files import read_program, usage_error
from eyeflow.cli.plans import is_possible, say_plan
from eyeflow.cli.rollout_options import Strategy

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.svm.container import SignedProgram

Json = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("deploy")(deploy)
    app.command("deployments")(deployments)
    app.command("status")(status)
    app.command("nodes")(nodes)
    app.command("remove")(remove)


def deploy(
    rule: Annotated[Path, typer.Argument(help="A rule (.eye), compiled and signed now, or a signed program (.svm).")],
    nodes_: Annotated[str, typer.Option("--nodes", metavar="A,B", help="The nodes, by name.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All nodes of the cluster.")] = False,
    strategy: rollout_options.StrategyOption = Strategy.IMMEDIATE,
    batch: rollout_options.Batch = "",
    observe: rollout_options.Observe = "",
    steps: rollout_options.Steps = "",
    samples_min: rollout_options.Samples = None,
    failures_max: rollout_options.Failures = None,
    rollback: rollout_options.Rollback = True,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the rule.")
    ] = None,
    sign: Annotated[str, typer.Option("--sign", metavar="KEY", help="The key to sign a rule with.")] = "default",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the connected nodes have reported.")
    ] = True,
    timeout_s: rollout_options.Timeout = None,
    dry_run: rollout_options.DryRun = False,
    catalog: compiling.CatalogOption = None,
    json_: JsonFlag = False,
) -> None:
    """Bring a rule to nodes.

    Exit code 0 when it succeeded, or only waits for offline nodes: they get it as soon as they connect, and a failure
    shows in `eyeflow deployments ID`. Exit code 1 when it failed, or a connected node has not answered in the time.
    """
    wanted = _chosen(nodes_, all_, "say where the rule shall run")
    with connect() as client:
        data, signed = _program(rule, sign, catalog)
        name, params = signed.program.rule, _params(signed, param)
        how = rollout_options.how(strategy, batch, observe, steps, samples_min, failures_max)
        if dry_run:
            plan = client.plan([{"rule": name, "program": data, "params": params}], wanted, **how)
            finish(_say_plan(client, signed, plan, json_))
            return
        _trust_own_key(client, signed)
        client.upload_program(data)
        given: Json = {"program_id": signed.program_id, "params": params, "rollback_on_error": rollback}
        begun = client.deploy(name, wanted, **given, **how)
        ended = _waited(client, begun, timeout_s, json_) if wait else begun
    if json_:
        say_json(ended)
    else:
        _say_deployment(ended)
    finish(_exit_code(ended, wait))


def _chosen(names: str, is_all: bool, what: str) -> list[str] | None:
    """Return the nodes that an option names, None for all."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if bool(wanted) == is_all:
        raise usage_error(what, "give either --nodes a,b or --all")
    return wanted or None


def _waited(client: CoordinatorClient, begun: Json, timeout_s: float | None, json_: bool) -> Json:
    shown, patience_s = _Progress(json_), rollout_options.patience(timeout_s, begun)
    return client.wait_deployment(begun["id"], shown, on_lost=shown.lost, timeout_s=patience_s)


def _exit_code(deployment: Json, waited: bool) -> ExitCode:
    """A connected node that has not answered in the time is no success; an offline one has all the time it needs."""
    failed = deployment["state"] in ("failed", "cancelled", "superseded", "rollingBack")
    unanswered = waited and not deployment["over"] and bool(_unanswered(deployment))
    return ExitCode.PROBLEMS if failed or unanswered else ExitCode.OK


def _program(path: Path, key: str, catalog: list[Path] | None) -> tuple[bytes, SignedProgram]:
    """Return the signed bytes of a rule or program file, and what they hold."""
    from eyeflow.cli.program_files import sign_bytes
    from eyeflow.svm.container import decode, encode

    if path.suffix == ".svm":
        data, signed = read_program(path)
        if not signed.signatures:
            raise EyeflowError(
                f"{path} is not signed",
                cause="nodes only run programs that a trusted key has signed",
                next_step=f"eyeflow sign {path}",
                code="unsigned",
                exit_code=ExitCode.PROBLEMS,
            )
        return data, signed
    options = compiling.compile_options(compiling.ProfileName.LINUX, "")
    source, result = compiling.compile_path(path, compiling.load_catalog(catalog), options)
    compiling.show_diagnostics(result.diagnostics, source, path, compiling.Format.TEXT)
    if result.program is None:
        raise EyeflowError(f"{path} does not compile", code="not_compiled", exit_code=ExitCode.PROBLEMS)
    data = sign_bytes(encode(result.program), key)
    return data, decode(data)


def _params(signed: SignedProgram, texts: list[str] | None) -> dict[str, bool | int | float | str]:
    from eyeflow.cli.parameters import parse_params

    return dict(parse_params(signed.program, texts))


def _say_plan(client: CoordinatorClient, signed: SignedProgram, plan: Json, json_: bool) -> ExitCode:
    """Show a plan and return the exit code. A key that a deployment would make known first counts as trusted."""
    own = _unknown_own_keys(client, signed)
    soon = frozenset({signed.program.rule} if own else ())
    if json_:
        say_json(plan)
        return ExitCode.OK if is_possible(plan, soon) else ExitCode.PROBLEMS
    for name in own.values():
        say(f"the cluster would trust your key {name} from then on")
    return say_plan(plan, soon)


def _trust_own_key(client: CoordinatorClient, signed: SignedProgram) -> None:
    """Tell the cluster of a key of this user's keyring that it has never seen; a revoked one stays revoked."""
    for key, name in _unknown_own_keys(client, signed).items():
        client.trust_key(key, name)
        note(f"the cluster trusts your key {name} from now on")


def _unknown_own_keys(client: CoordinatorClient, signed: SignedProgram) -> dict[bytes, str]:
    """Return the keys of this user that signed a program, by name, of which the cluster has never heard."""
    from eyeflow.cli.keyring import open_keyring, revoked_keys

    revoked = revoked_keys()
    own = {key.public_key: key.name for key in open_keyring().list() if key.public_key not in revoked}
    signers = [key for key, _signature in signed.signatures if key in own]
    known = {one["publicKey"] for one in client.signer_keys()} if signers else set()
    return {key: own[key] for key in signers if key.hex() not in known}


class _Progress:
    """Says once what became of each node, as it is known."""

    def __init__(self, as_json: bool) -> None:
        self._said: set[tuple[str, str]] = set()
        self._silent = as_json

    def __call__(self, deployment: Json) -> None:
        for node in deployment["nodes"]:
            away = node["state"] == "waiting" and not node["connected"]
            fact = (node["node"], "offline" if away else node["state"])
            if self._silent or fact in self._said or fact[1] in ("waiting", "sent"):
                continue
            self._said.add(fact)
            text = "offline, gets it as soon as it connects" if away else node["state"]
            note(f"  {node['node']}: {text}{f'  {_reason(node)}' if node['reason'] else ''}")

    def lost(self, why: str) -> None:
        """The coordinator does not answer; the deployment is safe in its store."""
        if not self._silent:
            note(f"  {why}; waits for the coordinator to come back")


def _reason(node: Json) -> str:
    return str(node["reason"])


def _say_deployment(deployment: Json) -> None:
    say(
        f"deployment {deployment['id']} of {deployment['name']} {_programs(deployment)}: "
        f"{colored(deployment['state'])}{'  ' + deployment['reason'] if deployment['reason'] else ''}"
    )
    if deployment["over"]:
        return
    away, unanswered = _away(deployment), _unanswered(deployment)
    if unanswered:
        say(f"  no answer yet from {', '.join(unanswered)}")
    if away:
        say(f"  waits for {', '.join(away)}: they get it as soon as they connect")
    if away or unanswered:
        say(f"  see what becomes of it: eyeflow deployments {deployment['id']}; end it: add --cancel")


def _programs(deployment: Json) -> str:
    """Return the program of a deployment of one rule, short; nothing for one of several."""
    changes = deployment["changes"]
    return str(changes[0]["programId"][:16]) if len(changes) == 1 else ""


def _away(deployment: Json) -> list[str]:
    from eyeflow.client.rest import open_nodes

    return [node["node"] for node in open_nodes(deployment) if not node["connected"]]


def _unanswered(deployment: Json) -> list[str]:
    from eyeflow.client.rest import open_nodes

    return [node["node"] for node in open_nodes(deployment) if node["connected"]]


def remove(
    rule: Annotated[str, typer.Argument(help="The rule, by name.")],
    nodes_: Annotated[str, typer.Option("--nodes", metavar="A,B", help="The nodes, by name.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All nodes that run it.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Take a rule off nodes: they stop running it and forget its state."""
    wanted = _chosen(nodes_, all_, "say where the rule shall go")
    with connect() as client:
        if wanted is None:
            wanted = [
                n["name"] for n in client.nodes() if any(one["rule"] == rule and one["wanted"] for one in n["rules"])
            ]
        if not wanted:
            raise EyeflowError(
                f"no node is to run {rule}", next_step="eyeflow status shows what runs where", code="rule_not_found",
                exit_code=ExitCode.PROBLEMS,
            )  # fmt: skip
        for node in wanted:
            client.retire_rule(node, rule)
    if json_:
        say_json({"rule": rule, "nodes": wanted})
    else:
        say(f"{rule} is taken off {', '.join(wanted)}")


def deployments(
    deployment: Annotated[str, typer.Argument(help="One deployment by its id; without: the newest.")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="End this deployment early.")] = False,
    json_: JsonFlag = False,
) -> None:
    """List deployments, show one, or cancel one."""
    if cancel and not deployment:
        raise usage_error("which deployment shall be cancelled?", "eyeflow deployments ID --cancel")
    with connect() as client:
        if not deployment:
            found = client.deployments()
        else:
            found = [client.cancel_deployment(deployment) if cancel else client.deployment(deployment)]
    if json_:
        say_json(found[0] if deployment else found)
        return
    if not found:
        note("no deployments yet")
        return
    rows = [
        [one["id"], one["name"], _programs(one), one["strategy"], one["state"], _ago(one["createdUs"])] for one in found
    ]
    table(["DEPLOYMENT", "RULE", "PROGRAM", "STRATEGY", "STATE", "STARTED"], rows)
    if deployment:
        rows = [[node["node"], node["state"], node["reason"]] for node in found[0]["nodes"]]
        say()
        table(["NODE", "STATE", "REASON"], rows)


def status(json_: JsonFlag = False) -> None:
    """Show the cluster: its nodes, what they run and how they do."""
    with connect() as client:
        cluster = client.status()
        nodes = client.nodes()
    if json_:
        say_json({**cluster, "nodes": nodes})
        return
    say(f"coordinator {cluster['coordinatorId'][:16]} at {client.url}")
    if cluster["trouble"]:
        say(f"store: {colored('failed')}  {cluster['trouble']}")
    if not nodes:
        note("no nodes yet: eyeflow coordinator join-token tells how one joins")
        return
    table(
        ["NODE", "STATE", "LAST SEEN", "RULES"],
        [[n["name"], _state(n), _ago(n["lastSeenUs"]), _rules(n)] for n in nodes],
    )
    for node in nodes:
        _say_node(node)


def nodes(
    node: Annotated[str, typer.Argument(help="One node by name; without: all.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Take this node out of the cluster.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="What this node has now is right: forget what contradicts it.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """List the nodes of the cluster, show one, remove one, or accept one whose history is in doubt."""
    if (remove or accept) and not node:
        option = "--remove" if remove else "--accept"
        raise usage_error(f"which node is {option} for?", f"eyeflow nodes NAME {option}")
    if remove and accept:
        raise usage_error("a node can be removed or accepted, not both", "give one of --remove and --accept")
    with connect() as client:
        if accept:
            found = [client.accept_node(node)]
        elif remove:
            client.remove_node(node)
            found = []
        else:
            found = [client.node(node)] if node else client.nodes()
    if json_:
        say_json({"removed": node} if remove else (found[0] if node else found))
        return
    if remove:
        say(f"{node} is no node of the cluster any more; it goes on running what it has")
        return
    if accept:
        say(f"{node} is accepted: what it has now is right")
    rows = [[n["name"], _state(n), n["fingerprint"][:16], str(n["protocol"] or "-"), _rules(n)] for n in found]
    table(["NODE", "STATE", "KEY", "PROTOCOL", "RULES"], rows)
    for n in found:
        if node:
            _say_node(n)
        else:
            _say_findings(n, f"{n['name']}: ")


def _state(node: Json) -> str:
    linked = "connected" if node["connected"] else "offline"
    return f"{linked}, in doubt" if node["inDoubt"] else linked


def _say_findings(node: Json, start: str) -> None:
    """Say what contradicts a node's history, since when, and what to do."""
    for one in node["findings"]:
        mark = paint("in doubt" if one["blocks"] else "lost store", "31" if one["blocks"] else "33", sys.stdout)
        since = datetime.fromtimestamp(one["sinceUs"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        say(f"{start}{mark} since {since}, last seen {_ago(one['lastUs'])}: {one['evidence']}")
        say(f"{start}  {one['nextStep']}")


def _rules(node: Json) -> str:
    return ", ".join(rule["rule"] for rule in node["rules"]) or "-"


def _say_node(node: Json) -> None:
    say()
    say(paint(node["name"], "1", sys.stdout))
    if node["problem"]:
        say(f"  {paint('problem', '31', sys.stdout)}: {node['problem']}")
    _say_findings(node, "  ")
    active = {part["name"]: part for part in node["health"] if part["slot"] == "active"}
    for rule in node["rules"]:
        _say_rule(rule, active.pop(rule["rule"], None))
    for part in node["health"]:
        if part["slot"] != "active" or part["name"] in active:
            _say_part(part)


def _say_rule(rule: Json, part: Json | None) -> None:
    """Say which program of a rule is wanted, what became of it, and how the one that runs does."""
    program = rule["wanted"]["programId"][:16] if rule["wanted"] else "to be removed"
    refused = part is not None and part["state"] == "failed"  # then the part tells why, and what to do
    reason = "" if refused or not rule["reason"] else f"  {rule['reason']}"
    say(f"  rule {rule['rule']}  {program}  {colored(rule['state'])}{reason}{_doing(part)}")


def _say_part(part: Json) -> None:
    """Say how a port, a candidate or a rule of nobody's does, if there is something to tell."""
    doing = _doing(part)
    if doing or part["state"] == "failed":
        slot = f" ({part['slot']})" if part["slot"] else ""
        say(f"  {part['kind']} {part['name']}{slot}  {colored(part['state'])}{doing}")


def _doing(part: Json | None) -> str:
    """Return what a rule or port counts and complains about; nothing when there is nothing to tell."""
    if part is None:
        return ""
    shown = [f"{n.replace('_', ' ')} {v}" for n, v in sorted(part["counters"].items()) if v and not n.endswith("_us")]
    detail = part["detail"] if shown or part["state"] == "failed" else ""
    return "".join(f"  {text}" for text in (", ".join(shown), detail) if text)


def _ago(time_us: int) -> str:
    if not time_us:
        return "never"
    past_s = max(0, round(datetime.now(UTC).timestamp() - time_us / 1e6))
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if past_s >= 2 * size_s:
            return f"{past_s // size_s}{unit} ago"
    return f"{past_s}s ago"
