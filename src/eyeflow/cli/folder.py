"""A folder of rules as one deployment, and what it would change: a Git repository is the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.cli import compiling, results
from eyeflow.cli.compile_targets import CompileTarget, for_nodes
from eyeflow.cli.console import counted, note
from eyeflow.cli.files import find_rules, usage_error

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.compiler.catalog import Catalog
    from eyeflow.compiler.testplan import TestPlan
    from eyeflow.svm.container import SignedProgram

Json = dict[str, Any]
NAMED_MAX = 20
"""Boards that a refusal names."""


@dataclass(frozen=True)
class Rule:
    """One compiled rule of a folder: its programs' bytes, signed or not, and the parameters that it shall have.

    `data` is the program for nodes, or for boards where no node is meant. `boards` are those of boards beside it.
    `tests` are those of the text, by the id of the program for which they were compiled.
    """

    path: Path
    data: bytes
    params: dict[str, bool | int | float | str]
    boards: tuple[bytes, ...] = ()
    tests: Mapping[str, tuple[TestPlan, ...]] = field(default_factory=dict)

    @cached_property
    def program(self) -> SignedProgram:
        """The program, decoded."""
        from eyeflow.svm.container import decode

        return decode(self.data)

    @cached_property
    def programs(self) -> dict[str, tuple[bytes, SignedProgram]]:
        """All its programs by chip, which is empty for nodes."""
        from eyeflow.svm.container import decode

        found = [(self.data, self.program), *((data, decode(data)) for data in self.boards)]
        return {signed.program.chip: (data, signed) for data, signed in found}

    @property
    def name(self) -> str:
        """The name of the rule."""
        return self.program.program.rule

    @property
    def change(self) -> Json:
        """What becomes of the rule, as the API takes it."""
        return self._change(lambda data, signed: {"programId": signed.program_id})

    @property
    def change_with_programs(self) -> Json:
        """The same with the programs themselves, for a plan: nothing need be uploaded."""
        return self._change(lambda data, signed: {"program": data})

    def _change(self, shown: Callable[[bytes, SignedProgram], Json]) -> Json:
        first, *boards = (shown(data, signed) for data, signed in self.programs.values())
        return {"rule": self.name, **first, "params": self.params} | ({"boardPrograms": boards} if boards else {})

    @property
    def fitted(self) -> Json:
        """The parameters as the coordinator keeps them."""
        from eyeflow.coordinator.intake import check_params

        return dict(check_params(self.program.program, self.params))


def load(
    folder: Path, param: list[str] | None, catalog: list[Path] | None, targets: Sequence[CompileTarget] = ()
) -> list[Rule]:
    """Compile all rules of a folder for all targets, unsigned; without targets for nodes.

    Raises EyeflowError when one does not compile, or two have one name.
    """
    known = compiling.load_catalog(catalog)
    rules: dict[str, Rule] = {}
    broken: dict[Path, CompileTarget] = {}
    for path in find_rules([folder]):
        made = compiled(path, known, targets or (for_nodes(),))
        if not isinstance(made, Rule):
            broken[path] = made
        elif (twin := rules.get(made.name)) is not None:
            raise _twice(made.name, twin.path, path)
        else:
            rules[made.name] = made
    if broken:
        raise not_compiled(broken, len(rules) + len(broken))
    texts = _by_rule(param or [], rules)
    return [replace(one, params=parsed_params(one, texts.get(name))) for name, one in sorted(rules.items())]


def compiled(path: Path, catalog: Catalog, targets: Sequence[CompileTarget]) -> Rule | CompileTarget:
    """Compile a rule for all targets and show its problems; returns the first target for which it does not compile."""
    from eyeflow.svm.container import decode, encode

    programs: dict[bytes, tuple[TestPlan, ...]] = {}  # boards with one chip get one program
    for target in targets:
        source, result = compiling.compile_path(path, catalog, target.options)
        compiling.show_diagnostics(result.diagnostics, source, path, compiling.Format.TEXT)
        if result.program is None:
            return target
        programs[encode(result.program)] = result.tests
    first, *boards = programs
    tests = {decode(data).program_id: plans for data, plans in programs.items()}
    return Rule(path, first, {}, tuple(boards), tests)


def parsed_params(rule: Rule, texts: list[str] | None) -> dict[str, bool | int | float | str]:
    """Return the parameters that `--param` gives a rule. Raises EyeflowError."""
    from eyeflow.cli.parameters import parse_params

    return dict(parse_params(rule.program.program, texts))


def not_compiled(broken: Mapping[Path, CompileTarget], total: int) -> EyeflowError:
    """Return the refusal of rules that do not compile, each with the target for which it does not."""
    names = ", ".join(str(path) for path in list(broken)[:5])
    message = f"{len(broken)} of {total} rules do not compile: {names}" if total > 1 else f"{names} does not compile"
    boards = list(dict.fromkeys(name for target in broken.values() for name in target.boards))
    if boards:
        named = ",".join(boards[:NAMED_MAX]) + (",..." if len(boards) > NAMED_MAX else "")
        message += f" for the {'boards' if len(boards) > 1 else 'board'} {named}"
    next_step = f"change the rule, or leave them out: --exclude {named}" if boards else ""
    return EyeflowError(message, next_step=next_step, code="not_compiled", exit_code=ExitCode.PROBLEMS)


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
    from eyeflow.svm.signing import sign_program

    private = private_key(key)
    return [
        replace(one, data=sign_program(one.data, private), boards=tuple(sign_program(b, private) for b in one.boards))
        for one in rules
    ]


def changes(rules: Sequence[Rule], nodes: Sequence[Json], prune: bool) -> list[Json]:
    """Return what becomes of each rule; with `prune` also of those that the nodes have and the folder has not."""
    names = {rule.name for rule in rules}
    gone = {one["rule"] for node in nodes for one in node["rules"] if one["wanted"]} - names if prune else ()
    found = [rule.change for rule in rules] + [{"rule": rule, "remove": True} for rule in gone]
    return sorted(found, key=lambda one: one["rule"])


def with_programs(rules: Sequence[Rule], changes: Sequence[Json]) -> list[Json]:
    """Return the changes with the programs themselves, for a plan: nothing need be uploaded."""
    by_name = {rule.name: rule for rule in rules}
    return [by_name[one["rule"]].change_with_programs if "params" in one else one for one in changes]


def deploy(
    client: CoordinatorClient,
    rules: Sequence[Rule],
    changes: Sequence[Json],
    where: Json,
    how: Json,
    with_sources: bool = True,
) -> Json:
    """Upload the programs that the coordinator does not have, with texts and tests, and start the deployment."""
    known = {one["id"] for rule in client.rules() for one in rule["programs"]} if len(rules) > 1 else set()
    made = [(rule, *one) for rule in rules for one in rule.programs.values()]
    new = [one for one in made if one[2].program_id not in known]
    from_text = [(rule, signed) for rule, _, signed in new if rule.path.suffix != ".svm"] if with_sources else []
    went = [(rule, signed.program_id, _played(rule, signed)) for rule, signed in from_text]
    for line in dict.fromkeys(
        _failed(rule, tests) for rule, _, tests in went
    ):  # once for the programs of nodes and boards
        if line:
            note(line)
    client.upload_programs([data for _, data, _ in new])
    try:
        begun = client.deploy_set(changes, where, **how)
    except EyeflowError as error:
        if error.code != "untrusted_program" or not known:
            raise
        client.upload_programs([data for _, data, _ in made])  # it has them signed by a key that was revoked
        begun = client.deploy_set(changes, where, **how)
    for rule, program_id, tests in went:
        _upload_source(client, rule, program_id)
        _upload_tests(client, rule, program_id, tests)
    return begun


def _played(rule: Rule, signed: SignedProgram) -> list[Json]:
    """Play the tests of a program: nodes do not ask for them."""
    return results.played(signed.program, rule.tests.get(signed.program_id, ()))


def _failed(rule: Rule, tests: list[Json]) -> str:
    failed = [f"`{one['name']}`" for one in tests if not one["passed"]]
    return (
        f"{counted(len(failed), 'test')} of {rule.name} failed, it is deployed all the same: {', '.join(failed)}"
        if failed
        else ""
    )


def _upload_tests(client: CoordinatorClient, rule: Rule, program_id: str, tests: list[Json]) -> None:
    try:
        client.upload_tests(program_id, tests)
    except EyeflowError as error:  # nothing else needs them
        note(f"the test results of {rule.name} will not be shown, they were not taken: {error.brief}")


def _upload_source(client: CoordinatorClient, rule: Rule, program_id: str) -> None:
    """Give the coordinator the text, which shows what it is asked to explain. It takes only what it can compile."""
    try:
        client.upload_source(program_id, compiling.read_source(rule.path))
    except EyeflowError as error:  # a catalog of one's own, or the file changed: nothing else needs it
        note(f"the lines of {rule.name} will not be shown, its text was not taken: {error.brief}")


def differences(rules: Sequence[Rule], nodes: Sequence[Json], versions: dict[str, str], prune: bool) -> list[Json]:
    """Return for each node and rule what a deployment would change. `versions` are those of programs, by id."""
    by_name = {rule.name: rule for rule in rules}
    found = []
    for node in nodes:
        wanted = {one["rule"]: one["wanted"] for one in node["rules"] if one["wanted"]}
        chip = node["facts"]["chip"] if node["facts"] else ""
        rows = [
            _difference(name, by_name.get(name), chip, wanted.get(name), versions, prune)
            for name in wanted.keys() | by_name
        ]
        found.append({"node": node["name"], "rules": sorted(rows, key=lambda row: str(row["rule"]))})
    return found


def _difference(
    name: str, rule: Rule | None, chip: str, wanted: Json | None, versions: dict[str, str], prune: bool
) -> Json:
    before = (
        None if wanted is None else _told(wanted["programId"], versions.get(wanted["programId"], ""), wanted["params"])
    )
    program = None if rule is None else rule.programs.get(chip, (b"", rule.program))[1]
    after = None if rule is None or program is None else _told(program.program_id, program.program.version, rule.fitted)
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
