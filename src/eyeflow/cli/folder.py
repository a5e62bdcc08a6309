"""A folder of rules as one deployment, and what it would change: a Git repository is the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.cli import compiling
from eyeflow.cli.console import note
from eyeflow.cli.files import find_rules, usage_error

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.compiler.compile import CompileOptions
    from eyeflow.svm.container import SignedProgram

Json = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One compiled rule of a folder: its program's bytes, signed or not, and the parameters that it shall have."""

    path: Path
    data: bytes
    program: SignedProgram
    params: dict[str, bool | int | float | str]

    @property
    def name(self) -> str:
        """The name of the rule."""
        return self.program.program.rule

    @property
    def change(self) -> Json:
        """What becomes of the rule, as the API takes it."""
        return {"rule": self.name, "programId": self.program.program_id, "params": self.params}

    @property
    def fitted(self) -> Json:
        """The parameters as the coordinator keeps them."""
        from eyeflow.coordinator.intake import check_params

        return dict(check_params(self.program.program, self.params))


def load(
    folder: Path, param: list[str] | None, catalog: list[Path] | None, options: CompileOptions | None = None
) -> list[Rule]:
    """Compile all rules of a folder, unsigned; `options` None: for nodes.

    Raises EyeflowError when one does not compile, or two have one name.
    """
    from eyeflow.cli.parameters import parse_params
    from eyeflow.svm.container import decode, encode

    options = options or compiling.compile_options(compiling.ProfileName.LINUX, "")
    known = compiling.load_catalog(catalog)
    paths: dict[str, Path] = {}
    programs: dict[str, bytes] = {}
    broken: list[str] = []
    for path in find_rules([folder]):
        source, result = compiling.compile_path(path, known, options)
        compiling.show_diagnostics(result.diagnostics, source, path, compiling.Format.TEXT)
        if result.program is None:
            broken.append(str(path))
            continue
        if (name := result.program.rule) in paths:
            raise _twice(name, paths[name], path)
        paths[name], programs[name] = path, encode(result.program)
    if broken:
        message = f"{len(broken)} of {len(paths) + len(broken)} rules do not compile: {', '.join(broken[:5])}"
        raise EyeflowError(message, code="not_compiled", exit_code=ExitCode.PROBLEMS)
    texts = _by_rule(param or [], programs)
    decoded = {name: decode(data) for name, data in programs.items()}
    return [
        Rule(paths[name], data, decoded[name], dict(parse_params(decoded[name].program, texts.get(name))))
        for name, data in sorted(programs.items())
    ]


def _twice(name: str, first: Path, second: Path) -> EyeflowError:
    return EyeflowError(
        f"two files have a rule {name}",
        cause=f"{first} and {second}",
        next_step="give one of them another name",
        code="rule_twice",
        exit_code=ExitCode.PROBLEMS,
    )


def _by_rule(texts: Sequence[str], rules: Iterable[str]) -> dict[str, list[str]]:
    """Return `--param RULE.NAME=VALUE` as NAME=VALUE for each rule."""
    found: dict[str, list[str]] = {}
    for text in texts:
        rule, dot, rest = text.partition(".")
        if not dot or "=" in rule:
            raise usage_error(f"--param {text}: of which rule?", "write it like --param overheat.limit=75")
        if rule not in rules:
            guess = near(rule, rules)
            raise usage_error(f"--param {text}: no rule {rule} here", f"did you mean {guess}?" if guess else "")
        found.setdefault(rule, []).append(rest)
    return found


def signed(rules: Sequence[Rule], key: str) -> list[Rule]:
    """Sign the programs with a key of the keyring, which is opened once."""
    from eyeflow.cli.keyring import private_key
    from eyeflow.svm.container import decode
    from eyeflow.svm.signing import sign_program

    private = private_key(key)
    found = []
    for rule in rules:
        data = sign_program(rule.data, private)
        found.append(Rule(rule.path, data, decode(data), rule.params))
    return found


def changes(rules: Sequence[Rule], nodes: Sequence[Json], prune: bool) -> list[Json]:
    """Return what becomes of each rule; with `prune` also of those that the nodes have and the folder has not."""
    names = {rule.name for rule in rules}
    gone = {one["rule"] for node in nodes for one in node["rules"] if one["wanted"]} - names if prune else ()
    found = [rule.change for rule in rules] + [{"rule": rule, "remove": True} for rule in gone]
    return sorted(found, key=lambda one: one["rule"])


def with_programs(rules: Sequence[Rule], changes: Sequence[Json]) -> list[Json]:
    """Return the changes with the programs themselves, for a plan: nothing need be uploaded."""
    data = {rule.name: rule.data for rule in rules}
    return [
        {"rule": one["rule"], "program": data[one["rule"]], "params": one["params"]} if "params" in one else one
        for one in changes
    ]


def deploy(
    client: CoordinatorClient,
    rules: Sequence[Rule],
    changes: Sequence[Json],
    where: Json,
    how: Json,
    with_sources: bool = True,
) -> Json:
    """Upload the programs that the coordinator does not have, with their texts, and start the deployment."""
    known = {one["id"] for rule in client.rules() for one in rule["programs"]} if len(rules) > 1 else set()
    new = [rule for rule in rules if rule.program.program_id not in known]
    client.upload_programs([rule.data for rule in new])
    try:
        begun = client.deploy_set(changes, where, **how)
    except EyeflowError as error:
        if error.code != "untrusted_program" or not known:
            raise
        client.upload_programs([rule.data for rule in rules])  # it has them signed by a key that was revoked
        begun = client.deploy_set(changes, where, **how)
    for rule in new if with_sources else ():
        _upload_source(client, rule)
    return begun


def _upload_source(client: CoordinatorClient, rule: Rule) -> None:
    """Give the coordinator the text, which shows what it is asked to explain. It takes only what it can compile."""
    if rule.path.suffix == ".svm":
        return
    try:
        client.upload_source(rule.program.program_id, compiling.read_source(rule.path))
    except EyeflowError as error:  # a catalog of one's own, or the file changed: nothing else needs it
        note(f"the lines of {rule.name} will not be shown, its text was not taken: {error.brief}")


def differences(rules: Sequence[Rule], nodes: Sequence[Json], versions: dict[str, str], prune: bool) -> list[Json]:
    """Return for each node and rule what a deployment would change. `versions` are those of programs, by id."""
    by_name = {rule.name: rule for rule in rules}
    found = []
    for node in nodes:
        wanted = {one["rule"]: one["wanted"] for one in node["rules"] if one["wanted"]}
        rows = [
            _difference(name, by_name.get(name), wanted.get(name), versions, prune) for name in wanted.keys() | by_name
        ]
        found.append({"node": node["name"], "rules": sorted(rows, key=lambda row: str(row["rule"]))})
    return found


def _difference(name: str, rule: Rule | None, wanted: Json | None, versions: dict[str, str], prune: bool) -> Json:
    before = (
        None if wanted is None else _told(wanted["programId"], versions.get(wanted["programId"], ""), wanted["params"])
    )
    after = None if rule is None else _told(rule.program.program_id, rule.program.program.version, rule.fitted)
    if rule is None:
        change = "removed" if prune else "kept"
    elif before is None:
        change = "added"
    else:
        change = "unchanged" if before == after else "changed"
    return {"rule": name, "change": change, "before": before, "after": before if change == "kept" else after}


def _told(program_id: str, version: str, params: Json) -> Json:
    return {"programId": program_id, "version": version, "params": params}


def is_change(row: Json) -> bool:
    """Say whether a deployment would do something about a rule on a node."""
    return row["change"] in ("added", "changed", "removed")
