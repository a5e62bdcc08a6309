"""Checks the declarations of a rule: header, types, pins, parameters, constants, state."""

from __future__ import annotations

import re
from functools import partial

from eyeflow.base.diagnostic import Label, Span
from eyeflow.compiler import ast, types
from eyeflow.compiler import typed as t
from eyeflow.compiler.check.context import Context, Symbol, SymbolKind, did_you_mean, name_fix
from eyeflow.compiler.check.expressions import check, check_constant, require_constant
from eyeflow.compiler.check.resolve import resolve_type
from eyeflow.svm.program import Direction, Pin, Priority, Type, Value

PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_RULE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")
_DIRECTIONS = {"input": Direction.INPUT, "output": Direction.OUTPUT}
_COUNTS_MAX = {"pin": 32, "param": 64, "field": 64, "member": 255}
VERSION_DEFAULT = "0.0.0"
DESCRIPTION_BYTES_MAX = 1024


NAME_CHARS_MAX = 63


def check_name(ctx: Context, name: ast.Name) -> None:
    """Report a name that is too long to be kept in a program."""
    if len(name.text) > NAME_CHARS_MAX:
        ctx.error("EF0229", f"this name has {len(name.text)} characters", name.span, f"at most {NAME_CHARS_MAX}")


def check_names(ctx: Context, rule: ast.Rule) -> None:
    """Check the length of all declared names."""
    names = [decl.name for decl in rule.enums] + [decl.name for decl in rule.records]
    names += [decl.name for decl in rule.pins]
    names += [decl.name for decl in rule.params] + [decl.name for decl in rule.consts]
    names += [decl.name for decl in rule.states]
    names += [member for decl in rule.enums for member in decl.members]
    names += [field.name for decl in rule.records for field in decl.fields]
    names += [handler.trigger.binding for handler in rule.handlers if isinstance(handler.trigger, ast.SourceTrigger)]
    for name in names:
        check_name(ctx, name)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Return major, minor and patch of `1.2.3`, None when it is not written so."""
    found = _VERSION.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def check_header(ctx: Context, rule: ast.Rule) -> tuple[str, Priority]:
    """Check the rule's name, version, priority and description; return version and priority."""
    if not _RULE_NAME.fullmatch(rule.name.text):
        ctx.error(
            "EF0222", f"`{rule.name.text}` is no name for a rule", rule.name.span, "not `[a-z][a-z0-9_]*`, 63 at most",
            help=f"write `{re.sub(r'[^a-z0-9_]', '_', rule.name.text.lower())[:63]}`",
        )  # fmt: skip
    if rule.description and len(rule.description.value.encode()) > DESCRIPTION_BYTES_MAX:
        ctx.error("EF0222", "the description is too long", rule.description.span, f"over {DESCRIPTION_BYTES_MAX} bytes")
    return _version(ctx, rule), _priority(ctx, rule)


def _version(ctx: Context, rule: ast.Rule) -> str:
    if rule.version is None:
        return VERSION_DEFAULT
    if parse_version(rule.version.value) is None:
        ctx.error("EF0222", f"`{rule.version.value}` is no version", rule.version.span, "not `major.minor.patch`",
                  help='write three numbers, as in "1.2.0"')  # fmt: skip
    return rule.version.value


def _priority(ctx: Context, rule: ast.Rule) -> Priority:
    if rule.priority is None:
        return Priority.NORMAL
    name = rule.priority.text
    if name not in PRIORITIES:
        hint, guess = did_you_mean(name, PRIORITIES)
        ctx.error("EF0222", f"unknown priority `{name}`", rule.priority.span, "no such priority",
                  help=hint or "one of " + ", ".join(PRIORITIES), fix=name_fix(rule.priority.span, guess))  # fmt: skip
    return PRIORITIES.get(name, Priority.NORMAL)


# --- types ---------------------------------------------------------------------------------------------------------


def declare_types(ctx: Context, rule: ast.Rule) -> None:
    """Make enums and records known; a record may name types that stand further down."""
    ctx.types.update(ctx.catalog.enums)
    declared: list[ast.EnumDecl | ast.RecordDecl] = [*rule.enums, *rule.records]
    fresh: dict[str, ast.EnumDecl | ast.RecordDecl] = {}
    for decl in sorted(declared, key=lambda decl: decl.span.start):
        name = decl.name.text
        if name in ctx.types or name in fresh or name in _BUILT_IN:
            labels = (Label(fresh[name].name.span, "declared here"),) if name in fresh else ()
            ctx.error("EF0201", f"the type `{name}` exists already", decl.name.span, "declared again", labels=labels,
                      help="choose another name")  # fmt: skip
            continue
        fresh[name] = decl
        ctx.pending[name] = partial(_type, ctx, decl)
    for name in fresh:
        ctx.declare_pending(name)


_BUILT_IN = ("bool", "int", "float", "duration", "text", "list")


def _type(ctx: Context, decl: ast.EnumDecl | ast.RecordDecl) -> None:
    name = decl.name.text
    kind = _enum(ctx, decl) if isinstance(decl, ast.EnumDecl) else _record(ctx, decl)
    ctx.type_spans[name] = decl.name.span
    ctx.types[name] = kind


def _unique(ctx: Context, names: tuple[ast.Name, ...], what: str) -> list[ast.Name]:
    seen: dict[str, Span] = {}
    for name in names:
        if name.text in seen:
            ctx.error("EF0201", f"the {what} `{name.text}` stands here twice", name.span, "again here",
                      labels=(Label(seen[name.text], "first here"),), help="remove one")  # fmt: skip
        seen.setdefault(name.text, name.span)
    if len(seen) > _COUNTS_MAX[what]:
        ctx.error("EF0502", f"too many: {len(seen)} {what}s, at most {_COUNTS_MAX[what]}", names[-1].span, "too many")
    return list({name.text: name for name in reversed(names)}.values())[::-1]


def _enum(ctx: Context, decl: ast.EnumDecl) -> Type:
    members = tuple(name.text for name in _unique(ctx, decl.members, "member"))
    return types.enum(decl.name.text, members) if members else types.ERROR  # the parser has told of the empty braces


def _record(ctx: Context, decl: ast.RecordDecl) -> Type:
    _unique(ctx, tuple(field.name for field in decl.fields), "field")
    fields: dict[str, Type] = {}
    for field in decl.fields:
        if field.name.text in fields:
            continue
        kind = resolve_type(ctx, field.type)
        if types.is_error(kind):
            return types.ERROR
        fields[field.name.text] = kind
        if field.default is not None:
            default = check_constant(ctx, field.default, kind, f"the default of `{field.name.text}`")
            ctx.field_defaults[decl.name.text, field.name.text] = default
    result = types.record(decl.name.text, tuple(fields.items()))
    if types.depth(result) > types.NESTING_MAX:
        ctx.error("EF0221", f"`{decl.name.text}` nests too deep", decl.name.span, f"at most {types.NESTING_MAX} levels")
        return types.ERROR
    return result


# --- pins, parameters, constants -----------------------------------------------------------------------------------


def declare_pins(ctx: Context, rule: ast.Rule) -> None:
    """Make pins known; a pin's value is its index."""
    for decl in rule.pins:
        direction = _DIRECTIONS.get(decl.direction.text)
        if direction is None:
            ctx.error(
                "EF0202", f"a pin is `input` or `output`, not `{decl.direction.text}`", decl.direction.span, "neither"
            )
        kind = types.pin(direction) if direction is not None else types.ERROR
        const = t.Const(len(ctx.pins), kind, decl.name.span) if direction is not None else None
        ctx.declare(Symbol(decl.name.text, SymbolKind.PIN, kind, decl.name.span, const=const))
        ctx.pins.append(Pin(decl.name.text, direction or Direction.INPUT))
        _check_wired(ctx, decl, direction)
    if len(ctx.pins) > _COUNTS_MAX["pin"]:
        ctx.error("EF0502", f"too many pins: {len(ctx.pins)}, at most 32", rule.pins[-1].span, "too many")


def _check_wired(ctx: Context, decl: ast.PinDecl, direction: Direction | None) -> None:
    """Report a pin that the board file does not name, or that goes the other way there."""
    if ctx.hardware is None or ctx.hardware.pins is None or direction is None:
        return
    name, wired = decl.name.text, ctx.hardware.pins.get(decl.name.text)
    if wired is None:
        hint, guess = did_you_mean(name, list(ctx.hardware.pins))
        ctx.error(
            "EF0411", f"{ctx.hardware.name} has no pin `{name}`", decl.name.span, "not in the board file",
            help=hint or f'name it there: {name} = {{ pin = "...", direction = "{direction.name.lower()}" }}',
            fix=name_fix(decl.name.span, guess),
        )  # fmt: skip
    elif wired is not direction:
        ctx.error(
            "EF0411", f"`{name}` is an {wired.name.lower()} of {ctx.hardware.name}", decl.direction.span,
            f"declared as an {direction.name.lower()} here", help="correct the rule, or the board file",
        )  # fmt: skip


def declare_params(ctx: Context, rule: ast.Rule) -> None:
    """Make parameters known."""
    for decl in rule.params:
        kind = resolve_type(ctx, decl.type)
        if not types.is_error(kind) and not types.is_scalar(kind):
            ctx.error("EF0221", f"a parameter cannot be {types.show(kind)}", decl.type.span, "not a scalar",
                      help="make one parameter for each value")  # fmt: skip
            kind = types.ERROR
        default = check_constant(ctx, decl.default, kind, f"the default of `{decl.name.text}`")
        variable = t.Variable(decl.name.text, kind, t.Region.PARAM, decl.name.span)
        ctx.declare(Symbol(decl.name.text, SymbolKind.PARAM, kind, decl.name.span, variable))
        if isinstance(default, t.Const) and not types.is_error(kind):
            low, high = _range(ctx, decl, kind, default.value)
            ctx.params.append(t.Param(variable, default.value, low, high))
    if len(rule.params) > _COUNTS_MAX["param"]:
        ctx.error("EF0502", f"too many parameters: {len(rule.params)}, at most 64", rule.params[-1].span, "too many")


def _range(ctx: Context, decl: ast.ParamDecl, kind: Type, default: Value) -> tuple[Value | None, Value | None]:
    if decl.low is None or decl.high is None:
        return None, None
    if not types.is_ordered(kind):
        ctx.error("EF0227", f"a range does not fit {types.show(kind)}", decl.low.span.to(decl.high.span), "no order",
                  note="only int, float and duration have one", help="remove the range")  # fmt: skip
        return None, None
    low = check_constant(ctx, decl.low, kind, "the low end of a range")
    high = check_constant(ctx, decl.high, kind, "the high end of a range")
    if not isinstance(low, t.Const) or not isinstance(high, t.Const):
        return None, None
    if not float(low.value) <= float(high.value):
        ctx.error("EF0227", "this range is empty", low.span.to(high.span), "the low end is above the high end")
    elif not low.value <= default <= high.value:  # type: ignore[operator]
        ctx.error("EF0227", f"the default of `{decl.name.text}` lies outside its range", decl.default.span, "outside",
                  labels=(Label(low.span.to(high.span), "the range"),))  # fmt: skip
    return low.value, high.value


def declare_consts(ctx: Context, rule: ast.Rule) -> None:
    """Make constants known; one may use another that stands further down."""
    for decl in rule.consts:
        if decl.name.text in ctx.pending:
            _const(ctx, decl)
        else:
            ctx.pending[decl.name.text] = partial(_const, ctx, decl)
    for decl in rule.consts:
        ctx.declare_pending(decl.name.text)


def _const(ctx: Context, decl: ast.ConstDecl) -> None:
    what = f"the constant `{decl.name.text}`"
    kind = resolve_type(ctx, decl.type) if decl.type else None
    value = check_constant(ctx, decl.value, kind, what) if kind else require_constant(ctx, check(ctx, decl.value), what)
    if not isinstance(value, t.Const) and not types.is_error(value.type):
        value = ctx.error("EF0221", f"a constant cannot be {types.show(value.type)}", decl.value.span, "not a scalar",
                          help="keep a list or record in a `state`")  # fmt: skip
    const = t.Const(value.value, kind or value.type, value.span) if isinstance(value, t.Const) else None
    known = const.type if const else types.ERROR
    ctx.declare(Symbol(decl.name.text, SymbolKind.CONST, known, decl.name.span, const=const))


# --- state ---------------------------------------------------------------------------------------------------------


def declare_states(ctx: Context, rule: ast.Rule) -> None:
    """Make state variables known with their initial values."""
    for decl in rule.states:
        kind = resolve_type(ctx, decl.type)
        variable = t.Variable(decl.name.text, kind, t.Region.STATE, decl.name.span)
        initial: tuple[Value, ...] | None = None
        if decl.initial is not None:
            value = check_constant(ctx, decl.initial, kind, f"the initial value of `{decl.name.text}`")
            is_known = not types.is_error(value.type) and not types.is_error(kind)
            initial = flatten_constant(value, kind) if is_known else None
        elif not types.is_error(kind):
            initial = types.zeros(kind)
        ctx.declare(Symbol(decl.name.text, SymbolKind.STATE, kind, decl.name.span, variable))
        if initial is not None and not types.is_error(kind):
            ctx.states.append(t.State(variable, initial))


def flatten_constant(value: t.Expr, kind: Type) -> tuple[Value, ...]:
    """Return the slots of a constant expression as a value of `kind`."""
    if isinstance(value, t.Const):
        return (value.value,)
    if isinstance(value, t.RecordLiteral):
        pairs = zip(value.fields, kind.fields, strict=True)
        return tuple(slot for field, (_, field_type) in pairs for slot in flatten_constant(field, field_type))
    assert isinstance(value, t.ListLiteral)
    rows = [flatten_constant(item, types.element_of(kind)) for item in value.items]
    slots: list[Value] = [len(rows)]
    for number, scalar in enumerate(types.scalars(types.element_of(kind))):
        slots += [row[number] for row in rows] + [types.zeros(scalar)[0]] * (kind.size - len(rows))
    return tuple(slots)
