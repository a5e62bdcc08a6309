"""The commands that change what nodes run: `eyeflow deploy`, `diff` and `remove`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import choosing, compiling, folder, replays, rollout_options
from eyeflow.cli.cluster import connect
from eyeflow.cli.compile_targets import CompileTarget, compile_targets
from eyeflow.cli.console import JsonFlag, counted, finish, note, say, say_json, table
from eyeflow.cli.files import read_program, usage_error
from eyeflow.cli.following import follow, tell_end
from eyeflow.cli.plans import is_possible, say_plan
from eyeflow.cli.questions import can_ask, confirmed
from eyeflow.cli.rollout_options import Strategy

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.svm.container import SignedProgram

Json = dict[str, Any]


RuleArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RULE",
        help="A rule (.eye) or a folder of rules, compiled and signed now, or a signed program (.svm).",
    ),
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter; of a folder: RULE.NAME=VALUE."),
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="With a folder: remove the rules of the nodes that are not in it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("deploy")(deploy)
    app.command("diff")(diff)
    app.command("remove")(remove)


def deploy(
    rule: RuleArgument,
    nodes: choosing.Nodes = "",
    label: choosing.Label = None,
    all_: choosing.All = False,
    exclude: choosing.Exclude = "",
    strategy: rollout_options.StrategyOption = Strategy.IMMEDIATE,
    batch: rollout_options.Batch = "",
    observe: rollout_options.Observe = "",
    steps: rollout_options.Steps = "",
    samples_min: rollout_options.Samples = None,
    failures_max: rollout_options.Failures = None,
    rollback: rollout_options.Rollback = True,
    param: ParamOption = None,
    prune: PruneOption = False,
    sign: Annotated[str, typer.Option("--sign", metavar="KEY", help="The key to sign a rule with.")] = "default",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    timeout_s: rollout_options.Timeout = None,
    dry_run: rollout_options.DryRun = False,
    replay: rollout_options.Replay = "",
    replay_timeout: rollout_options.ReplayTimeout = 60,
    fail_on_difference: rollout_options.FailOnDifference = False,
    yes: rollout_options.Yes = False,
    catalog: compiling.CatalogOption = None,
    source: rollout_options.WithSource = True,
    json_: JsonFlag = False,
) -> None:
    """Bring a rule to nodes, or what changed in a folder of rules: they all succeed, or all go back.

    Exit code 0 when it succeeded, or watches nothing and only waits for offline nodes: they get it as soon as they
    connect. Exit code 1 when it failed, went back, was cancelled or replaced, or has not ended in the time, whatever
    holds it up. With --json each change is one line, and the last line is the deployment.

    With --replay nothing has changed yet when the differences are shown. Then it asks, and goes on only after a yes:
    without a terminal give --yes, or --dry-run to look only. Differences alone are no failure.
    """
    where = choosing.where(nodes, label, all_, exclude, "say where the rule shall run")
    how = rollout_options.how(strategy, batch, observe, steps, samples_min, failures_max)
    look = Look(replays.span_s(replay), round(replay_timeout), fail_on_difference, yes, dry_run)
    look.check()
    _check_prune(prune, rule)
    with connect() as client:
        rules = _rules(rule, sign, param, catalog, () if rule.suffix == ".svm" else compile_targets(client, where))
        changes = folder.changes(rules, choosing.meant(client.nodes(), where) if prune else [], prune)
        if (ends := _looked(client, rules, changes, where, how, look, json_)) is not None:
            finish(ends)
            return
        _trust_own_key(client, rules[0].program)
        how |= {"skip_unchanged": rule.is_dir(), "rollback_on_error": rollback}
        finish(_told(client, folder.deploy(client, rules, changes, where, how, source), timeout_s, wait, json_))


def _check_prune(prune: bool, rules: Path) -> None:
    if prune and not rules.is_dir():
        raise usage_error("--prune needs a folder of rules", "name the folder, or remove a rule with `eyeflow remove`")


@dataclass(frozen=True)
class Look:
    """How a deployment is looked at before it begins: `span_s` 0 for no replay."""

    span_s: int
    timeout_s: int
    fails_on_difference: bool
    yes: bool
    dry_run: bool

    def check(self) -> None:
        """Raise EyeflowError for options that do not go together, and where nobody could be asked."""
        if not self.span_s and (self.fails_on_difference or self.yes):
            name = "--fail-on-difference" if self.fails_on_difference else "--yes"
            raise usage_error(f"{name} needs --replay", "add for example --replay 24h")
        if self.span_s and not (self.yes or self.dry_run or can_ask()):
            next_step = "give --yes to go on, or --dry-run to look only"
            raise usage_error("nobody can be asked whether to go on after the replay", next_step, "no terminal")


def _looked(
    client: CoordinatorClient,
    rules: list[folder.Rule],
    changes: list[Json],
    where: Json,
    how: Json,
    look: Look,
    json_: bool,
) -> ExitCode | None:
    """Show what is to be known before anything changes; None: go on."""
    if not (look.dry_run or look.span_s):
        return None
    planned = folder.with_programs(rules, changes)
    plan = client.plan(planned, where, replay_s=look.span_s, replay_timeout_s=look.timeout_s, **how)
    ends = _say_plan(client, rules, plan, json_) if look.dry_run else ExitCode.OK
    found = plan["replay"]
    if found is None:
        return ends
    if json_ and not look.dry_run:
        say_json({"event": "replay", "replay": found}, indent=None)
    elif not json_:
        replays.say_replay(found)
    if look.fails_on_difference and not replays.holds(found):
        note("decisions differ, or none was compared: nothing was changed")
        return ExitCode.PROBLEMS
    if look.dry_run:
        return ends
    if look.yes or confirmed("Deploy it?"):
        return None
    note("nothing was changed")
    return ExitCode.PROBLEMS


def _rules(
    path: Path, key: str, param: list[str] | None, catalog: list[Path] | None, targets: Sequence[CompileTarget]
) -> list[folder.Rule]:
    if path.is_dir():
        return folder.signed(folder.load(path, param, catalog, targets), key)
    if path.suffix == ".svm":
        one = folder.Rule(path, _signed_bytes(path), {})
    else:
        made = folder.compiled(path, compiling.load_catalog(catalog), targets)
        if not isinstance(made, folder.Rule):
            raise folder.not_compiled({path: made}, 1)
        (one,) = folder.signed([made], key)
    return [replace(one, params=folder.parsed_params(one, param))]


def _told(client: CoordinatorClient, begun: Json, timeout_s: float | None, wait: bool, json_: bool) -> ExitCode:
    if "id" not in begun:
        _say_unchanged(begun, json_)
        return ExitCode.OK
    ended = follow(client, begun, timeout_s, json_) if wait else begun
    return tell_end(ended, waited=wait, as_json=json_)


def _say_unchanged(answer: Json, json_: bool) -> None:
    if json_:
        say_json({"event": "unchanged", "exitCode": 0, **answer}, indent=None)
    else:
        say(f"nothing to change: {counted(len(answer['unchanged']), 'rule')} as wanted")


def _signed_bytes(path: Path) -> bytes:
    """Return the bytes of a program file that somebody has signed."""
    data, signed = read_program(path)
    if not signed.signatures:
        raise EyeflowError(
            f"{path} is not signed",
            cause="nodes only run programs that a trusted key has signed",
            next_step=f"eyeflow sign {path}",
            code="unsigned",
            exit_code=ExitCode.PROBLEMS,
        )
    return data


def _say_plan(client: CoordinatorClient, rules: list[folder.Rule], plan: Json, json_: bool) -> ExitCode:
    """Show a plan and return the exit code. A key that a deployment would make known first counts as trusted."""
    own = _unknown_own_keys(client, rules[0].program)
    soon = frozenset(rule.name for rule in rules) if own else frozenset()
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


def diff(
    rules: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of rules.")],
    nodes: choosing.Nodes = "",
    label: choosing.Label = None,
    all_: choosing.All = False,
    exclude: choosing.Exclude = "",
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="RULE.NAME=VALUE", help="Set a parameter of a rule.")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Rules that are not in the folder would be removed.")] = False,
    catalog: compiling.CatalogOption = None,
    json_: JsonFlag = False,
) -> None:
    """Show for each node what deploying a folder of rules would change. Exit code 1 when it would change something."""
    where = choosing.where(nodes, label, all_, exclude, "say which nodes are compared")
    with connect() as client:
        loaded = folder.load(rules, param, catalog, compile_targets(client, where))
        versions = {one["id"]: one["version"] for rule in client.rules() for one in rule["programs"]}
        found = folder.differences(loaded, choosing.meant(client.nodes(), where), versions, prune)
    is_different = any(folder.is_change(row) for node in found for row in node["rules"])
    if json_:
        say_json({"different": is_different, "nodes": found})
    else:
        _say_differences(found)
    finish(ExitCode.PROBLEMS if is_different else ExitCode.OK)


def _say_differences(nodes: list[Json]) -> None:
    rows = [
        [node["node"], row["rule"], row["change"], _version(row["before"]), _version(row["after"])]
        for node in nodes
        for row in node["rules"]
        if folder.is_change(row)
    ]
    if rows:
        table(["NODE", "RULE", "CHANGE", "NOW", "THEN"], rows)
    for node in nodes:
        changes = Counter(row["change"] for row in node["rules"])
        say(f"{node['node']}: {', '.join(f'{count} {change}' for change, count in sorted(changes.items()))}")


def _version(one: Json | None) -> str:
    if one is None:
        return "-"
    params = "".join(f" {name}={value}" for name, value in sorted(one["params"].items()))
    return f"{one['version'] or '?'} {one['programId'][:12]}{params}"


def remove(
    rule: Annotated[str, typer.Argument(help="The rule, by name.")],
    nodes: choosing.Nodes = "",
    label: choosing.Label = None,
    all_: choosing.All = False,
    exclude: choosing.Exclude = "",
    json_: JsonFlag = False,
) -> None:
    """Take a rule off nodes: they stop running it and forget its state."""
    where = choosing.where(nodes, label, all_, exclude, "say where the rule shall go")
    with connect() as client:
        wanted = choosing.running(client.nodes(), rule, where)
        for node in wanted:
            client.retire_rule(node, rule)
    if json_:
        say_json({"rule": rule, "nodes": wanted})
    else:
        say(f"{rule} is taken off {', '.join(wanted)}")
