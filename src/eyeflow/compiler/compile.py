"""The compiler as one function: from the text of a rule to a program, its tests and its diagnostics."""

from __future__ import annotations

import re
from dataclasses import field, replace

from eyeflow.base.diagnostic import Diagnostic, Severity, Span
from eyeflow.base.record import dataclass
from eyeflow.compiler import ast, ir, testplan
from eyeflow.compiler import typed as t
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.check import Checked, CheckedTest, Condition, check_rule
from eyeflow.compiler.check.declarations import parse_version
from eyeflow.compiler.codegen import Target, assemble, generate
from eyeflow.compiler.coverage import Branch
from eyeflow.compiler.hardware import Hardware
from eyeflow.compiler.limits import ChipLimits, check_chip
from eyeflow.compiler.lower import lower_rule
from eyeflow.compiler.parser import parse
from eyeflow.compiler.source import Source
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.program import OnFailure, Profile, Program, SiteKind, TriggerKind
from eyeflow.svm.source_map import position_of
from eyeflow.svm.verify import compute_limits

SOURCE_NAME_BYTES_MAX = 255
"""A longer file name loses its front: it stands in messages only."""


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What to compile for. `sequence` None: from the version, major << 40 | minor << 20 | patch.

    `hardware`: what the board has, or at most can have; None where nothing is known of it.
    """

    profile: Profile = Profile.LINUX
    chip: str = ""
    chip_limits: ChipLimits | None = None
    sequence: int | None = None
    hardware: Hardware | None = None


@dataclass(frozen=True, slots=True)
class Phases:
    """What each phase made, as far as the compiler came."""

    tree: ast.Rule | None = None
    typed: t.Rule | None = None
    ir: ir.Unit | None = None


@dataclass(frozen=True, slots=True)
class CompileResult:
    """`program` is None when a diagnostic is an error; `tests` are then empty."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    tests: tuple[testplan.TestPlan, ...] = ()
    phases: Phases = field(default_factory=Phases)
    branches: tuple[Branch, ...] = ()


def compile_rule(
    source: str, *, name: str, catalog: Catalog | None = None, options: CompileOptions | None = None
) -> CompileResult:
    """Compile the text of one rule. `name` is the file's name, kept in the program for messages."""
    options = options or CompileOptions()
    parsed = parse(source)
    if parsed.rule is None:
        return CompileResult(None, tuple(parsed.diagnostics))
    checked = check_rule(parsed.rule, source, catalog or Catalog.builtin(), options.profile, options.hardware)
    diagnostics = _merged(tuple(parsed.diagnostics), _without_echo(checked, tuple(parsed.diagnostics)))
    if checked.rule is None or _has_error(diagnostics):
        return CompileResult(None, diagnostics, phases=Phases(parsed.rule, checked.rule))
    return _generate(parsed.rule, checked, diagnostics, Source(source), name, options)


def _without_echo(checked: Checked, parsed: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """What is unused or missing may stand in the part that the parser could not read."""
    if not _has_error(parsed):
        return checked.diagnostics
    return tuple(one for one in checked.diagnostics if one.code not in _ECHOES)


_ECHOES = ("EF0223", "EF0901", "EF0602", "EF0605", "EF0607")


def _merged(*groups: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    return tuple(sorted((one for group in groups for one in group), key=lambda one: (one.span, one.code)))


def _has_error(diagnostics: tuple[Diagnostic, ...]) -> bool:
    return any(one.severity is Severity.ERROR for one in diagnostics)


def _shortened(name: str) -> str:
    return name.encode("utf-8", "replace")[-SOURCE_NAME_BYTES_MAX:].decode("utf-8", "ignore")


def _sequence(version: str) -> int:
    major, minor, patch = parse_version(version) or (0, 0, 0)
    return major << 40 | minor << 20 | patch


def _generate(
    tree: ast.Rule, checked: Checked, diagnostics: tuple[Diagnostic, ...], source: Source, name: str,
    options: CompileOptions,
) -> CompileResult:  # fmt: skip
    rule = checked.rule
    assert rule is not None
    unit = lower_rule(rule)
    phases = Phases(tree, rule, unit)
    sequence = _sequence(rule.version) if options.sequence is None else options.sequence
    target = Target(options.profile, options.chip, sequence, _shortened(name))
    program = None
    try:
        program, choices = assemble(unit, target, source)
        program = replace(program, limits=compute_limits(program))
        tests = tuple(_plan(test, rule, target, source) for test in checked.tests)
    except ProgramError as error:
        return CompileResult(None, (*diagnostics, _too_large(error, rule, program, source)), phases=phases)
    over = check_chip(program, unit, options.chip_limits) if options.chip_limits else ()
    if over:
        return CompileResult(None, _merged(diagnostics, over), phases=phases)
    return CompileResult(program, diagnostics, tests, phases, _branches(choices, source))


def _branches(choices: dict[int, ir.Choice], source: Source) -> tuple[Branch, ...]:
    places = ((pc, source.position(choice.span.start), choice.swapped) for pc, choice in choices.items())
    return tuple(Branch(pc, at.line, at.column, swapped) for pc, at, swapped in places)


def _too_large(error: ProgramError, rule: t.Rule, program: Program | None, source: Source) -> Diagnostic:
    start = rule.span.start
    span = _place(error, program, source) or Span(start, start + len("rule"))
    return Diagnostic(
        "EF0503", f"this rule is too large: {error.reason}", span, "too large",
        note="" if error.place.startswith("instruction") else error.place,
        help="split it into several rules, or shorten its windows, lists and expressions",
    )  # fmt: skip


def _place(error: ProgramError, program: Program | None, source: Source) -> Span | None:
    """Return where the instruction that the verifier refused stems from."""
    found = re.match(r"instruction (\d+)", error.place)
    position = position_of(program, int(found[1])) if found and program else None
    if position is None:
        return None
    start = source.line_starts[position.line - 1] + position.column - 1
    return Span(start, start + 1)


# --- tests ---------------------------------------------------------------------------------------------------------


def _plan(test: CheckedTest, rule: t.Rule, target: Target, source: Source) -> testplan.TestPlan:
    steps = tuple(
        _condition(step, rule, target, source) if isinstance(step, Condition) else step for step in test.steps
    )
    return testplan.TestPlan(test.name, test.line, test.column, steps)


def _condition(step: Condition, rule: t.Rule, target: Target, source: Source) -> testplan.ExpectThat:
    """Compile a condition into a program that emits its value and its operands."""
    values = (step.condition, *step.operands)
    names = ("holds", *(f"operand_{number}" for number in range(len(step.operands))))
    args = tuple((name, value.type) for name, value in zip(names, values, strict=True))
    site = t.Site(SiteKind.EMIT, "expect", args, None, OnFailure.ABORT, 0, 0, 0, 0, "", False)
    span = step.condition.span
    act = t.Act(site, values, span)
    trigger = t.Trigger(TriggerKind.EVERY, "", "", 1_000_000, "", (), None, None)
    probe = replace(rule, handlers=(t.Handler(trigger, t.Block((act,), span), span),))
    operands = tuple(
        testplan.Operand(source.text[side.span.start : side.span.end], side.type) for side in step.operands
    )  # fmt: skip
    return testplan.ExpectThat(step.where, generate(lower_rule(probe), target, source), operands)


# --- phases --------------------------------------------------------------------------------------------------------

PHASES = ("tokens", "ast", "typed", "ir", "asm")


def emit_phase(
    source: str,
    phase: str,
    *,
    name: str,
    catalog: Catalog | None = None,
    options: CompileOptions | None = None,
) -> tuple[str | None, tuple[Diagnostic, ...]]:
    """Return what a phase (one of PHASES) made, as stable text, and the diagnostics up to there.

    The text is None when the rule's mistakes keep the compiler from coming so far.
    """
    if phase not in PHASES:
        raise ValueError(f"{phase} is none of {', '.join(PHASES)}")
    from eyeflow.compiler.dump import dump_ir, dump_tokens, dump_tree  # a check of rules prints no phase

    lines = Source(source)
    if phase == "tokens":
        return dump_tokens(lines), ()
    result = compile_rule(source, name=name, catalog=catalog, options=options)
    match phase:
        case "ast":
            tree = result.phases.tree
            return (None if tree is None else dump_tree(tree, lines)), result.diagnostics
        case "typed":
            rule = result.phases.typed
            return (None if rule is None else dump_tree(rule, lines)), result.diagnostics
        case "ir":
            unit = result.phases.ir
            return (None if unit is None else dump_ir(unit)), result.diagnostics
        case _:
            return _assembly(result, source), result.diagnostics


def _assembly(result: CompileResult, source: str) -> str | None:
    if result.program is None:
        return None
    from eyeflow.svm.disasm import disassemble

    return "\n".join(disassemble(result.program, source.splitlines())) + "\n"
