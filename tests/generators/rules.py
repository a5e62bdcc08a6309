"""Random well-typed rules as source text: every construct of the language, nested, over parameters, payload and state.

`random_rule(rng)` gives a rule that must compile. The text is not meant to make sense to a plant.
"""

from __future__ import annotations

import random
from collections.abc import Callable

SCALARS = ("bool", "int", "float", "duration", "text(40)", "Mode")
LISTS = ("list(int, 4)", "list(float, 3)", "list(Part, 2)", "list(duration, 2)")
DEPTH_MAX = 3

_HEAD = """    version "1.2.3"
    priority low
    enum Mode { OFF, HEAT, COOL }
    enum Answer { COOL, WARM }
    record Part { weight: float, count: int = 3, mode: Mode }
    record Event { temp: float, n: int = 7, name: text(40) = "none", part: Part, items: list(int, 4), mode: Mode }
    pin RELAY: output
    pin DOOR: input
    param limit: float = 80.0 in 20.0..120.0
    param n: int = 3
    param wait: duration = 2s
    param mode_param: Mode = HEAT
    param is_on: bool = true
    param label: text(40) = "label"
    const STEP = 0.5
    const SPAN = 3 * 2s
    const NAME = "rule " + "one"
    state s_bool: bool
    state s_int: int = 5
    state s_float: float = -1.5
    state s_duration: duration = 1min
    state s_text: text(40) = "start"
    state s_mode: Mode = COOL
    state s_part: Part = Part(weight: 2.0, mode: OFF)
    state ints: list(int, 4) = [1, 2, 9]
    state floats: list(float, 3) = [0.5]
    state parts: list(Part, 2) = [Part(weight: 1.0, mode: HEAT), Part(2.0, 4, COOL)]
    state durations: list(duration, 2) = [1s]
"""
_STATE = {
    "bool": "s_bool", "int": "s_int", "float": "s_float", "duration": "s_duration", "text(40)": "s_text", "Mode": "s_mode",
    "Part": "s_part", "list(int, 4)": "ints", "list(float, 3)": "floats", "list(Part, 2)": "parts",
    "list(duration, 2)": "durations",
}  # fmt: skip
_GLOBALS = {
    "bool": ["is_on"], "int": ["n", "s_part.count"], "float": ["limit", "STEP", "s_part.weight"],
    "duration": ["wait", "SPAN"], "text(40)": ["label", "NAME"], "Mode": ["mode_param", "s_part.mode"],
}  # fmt: skip
_LITERALS: dict[str, tuple[str, ...]] = {
    "bool": ("true", "false"),
    "int": ("0", "1", "-7", "100", "0x2A", "9_000_000", "-9223372036854775808"),
    "float": ("0.0", "1.5", "-2.25", "1e300", "0.1", "-0.0"),
    "duration": ("1s", "250ms", "1h30min", "1us", "10d"),
    "text(40)": ('""', '"abc"', '"grüße \\n"', '"\\{\\}"'),
    "Mode": ("OFF", "Mode.HEAT", "Mode.COOL"),
}
_PAYLOAD = {
    "bool": [], "int": ["{event}.n", "{event}.part.count"], "float": ["{event}.temp", "{event}.part.weight"], "duration": [],
    "text(40)": ["{event}.name"], "Mode": ["{event}.mode", "{event}.part.mode"],
}  # fmt: skip


class _Rule:
    """Writes one rule."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.locals: list[tuple[str, str, bool]] = []
        self.payload = ""
        self.in_loop = False
        self.visited: list[str] = []
        self.windows = 0
        self.counter = 0

    def name(self) -> str:
        self.counter += 1
        return f"x{self.counter}"

    # --- expressions ------------------------------------------------------------------------------------------------

    def expr(self, kind: str, depth: int = 0) -> str:
        """Return an expression of a scalar type."""
        if depth >= DEPTH_MAX or self.rng.random() < 0.2:
            return self.leaf(kind)
        return self.rng.choice(_MAKERS[kind])(self, depth + 1)

    def leaf(self, kind: str) -> str:
        """Return a literal or a name."""
        names = [_STATE[kind], *_GLOBALS[kind], *(name for name, of, _ in self.locals if of == kind)]
        names += [name.format(event=self.payload) for name in _PAYLOAD[kind]] if self.payload else []
        if self.rng.random() < 0.75:
            return self.rng.choice(names)
        return self.rng.choice(_LITERALS[kind])

    def value(self, kind: str) -> str:
        """Return an expression of any type."""
        if kind in _LITERALS:
            return self.expr(kind)
        if kind == "Part":
            return self.part()
        names = [_STATE[kind], *(name for name, of, _ in self.locals if of == kind)]
        element, size = kind[5:-1].split(", ")
        items = ", ".join(self.value(element) for _ in range(self.rng.randint(0, int(size))))
        choices = [self.rng.choice(names), f"[{items}]", f"if {self.expr('bool', 2)} then {names[0]} else [{items}]"]
        return self.rng.choice(choices)

    def part(self) -> str:
        """Return a record."""
        names = ["s_part", "parts[0]", *(name for name, of, _ in self.locals if of == "Part")]
        made = f"Part(weight: {self.expr('float', 2)}, mode: {self.expr('Mode', 2)})"
        full = f"Part({self.expr('float', 2)}, {self.expr('int', 2)}, {self.expr('Mode', 2)})"
        chosen = f"if {self.expr('bool', 2)} then {made} else {self.rng.choice(names)}"
        return self.rng.choice([self.rng.choice(names), made, full, chosen])

    def condition(self, depth: int) -> str:
        """Return a bool, with time words where they may stand."""
        plain = f"({self.expr('bool', depth)})"
        if self.in_loop or self.rng.random() < 0.5:
            return plain
        span = self.rng.choice(("2s", "wait", "100ms", "SPAN"))
        word = self.rng.choice((f"for {span}", f"cooldown {span}", "rises", "falls", f"for {span} cooldown 1min"))
        return f"({plain} {word})"

    def window(self, depth: int) -> str:
        """Return an aggregate over a window."""
        if self.in_loop or self.windows > 3:
            return self.leaf("float")
        self.windows += 1
        name = self.rng.choice(("mean", "min", "max", "sum", "rate"))
        return f"{name}({self.expr('float', depth)}, last {self.rng.choice(('5s max 9', '12', 'wait max 4'))})"

    def read(self, call: str, kind: str) -> str:
        """Return a read with an answer to failure."""
        fallback = self.rng.choice([_STATE[kind], _LITERALS[kind][0]])
        answer = self.rng.choice(("", " retry 2", " else skip", " else abort", f" retry 1 else {fallback}"))
        return f"({call}{answer})"

    # --- statements -------------------------------------------------------------------------------------------------

    def block(self, depth: int, indent: str) -> str:
        """Return some statements in braces."""
        before = len(self.locals)
        lines = [self.statement(depth + 1, indent + "    ") for _ in range(self.rng.randint(0, 3))]
        del self.locals[before:]
        return "{\n" + "".join(lines) + indent + "}"

    def statement(self, depth: int, indent: str) -> str:
        """Return one statement."""
        makers = list(_STATEMENTS) + (list(_NESTED) if depth < 3 else [])
        return indent + self.rng.choice(makers)(self, depth, indent) + "\n"

    def let(self, depth: int, indent: str) -> str:
        kind = self.rng.choice((*SCALARS, *LISTS, "Part"))
        name, mutable = self.name(), self.rng.random() < 0.5
        text = f"{'var' if mutable else 'let'} {name}: {kind} = {self.value(kind)}"
        self.locals.append((name, kind, mutable))
        return text

    def assign(self, depth: int, indent: str) -> str:
        kind = self.rng.choice((*SCALARS, *LISTS, "Part"))
        names = [_STATE[kind], *(name for name, of, mutable in self.locals if of == kind and mutable)]
        names = [name for name in names if name not in self.visited] or ["s_int"]
        kind = "int" if names == ["s_int"] else kind
        return f"{self.rng.choice(names)} = {self.value(kind)}"

    def element(self, depth: int, indent: str) -> str:
        return self.rng.choice((
            f"ints[{self.index()}] = {self.expr('int', 1)}",
            f"parts[{self.index(1)}].weight = {self.expr('float', 1)}",
            f"parts[{self.index(1)}] = {self.part()}",
            f"s_part.mode = {self.expr('Mode', 1)}",
        ))  # fmt: skip

    def index(self, most: int = 3) -> str:
        return self.rng.choice(("0", "1", f"clamp({self.expr('int', 2)}, 0, {most})", "len(ints) - 1"))

    def change_list(self, depth: int, indent: str) -> str:
        lists = [name for name in ("ints", "floats", "parts", "durations") if name not in self.visited]
        if not lists:
            return "s_bool = not s_bool"
        name = self.rng.choice(lists)
        element = {"ints": "int", "floats": "float", "parts": "Part", "durations": "duration"}[name]
        return self.rng.choice((f"clear({name})", f"append({name}, {self.value(element)})"))

    def act(self, depth: int, indent: str) -> str:
        level = self.rng.choice(("HIGH", "LOW", f"(if {self.expr('bool', 2)} then HIGH else LOW)"))
        answer = self.rng.choice(("", " retry 3 backoff 1s else skip", " else abort", " timeout 2s"))
        return self.rng.choice((
            f"gpio.set_pin(RELAY, {level})", f"log.info({self.expr('text(40)', 1)})",
            f'mqtt.publish("t/{{s_int}}", {self.expr("text(40)", 1)}, qos: 0)',
            f"emit hot(temp: {self.expr('float', 1)}, mode: {self.expr('Mode', 1)}, note: {self.leaf('text(40)')})",
        )) + (answer if self.rng.random() < 0 else "")  # fmt: skip

    def branch(self, depth: int, indent: str) -> str:
        text = f"if {self.condition(1)} {self.block(depth, indent)}"
        if self.rng.random() < 0.4:
            text += f" else if {self.condition(1)} {self.block(depth, indent)}"
        return text + (f" else {self.block(depth, indent)}" if self.rng.random() < 0.6 else "")

    def match(self, depth: int, indent: str) -> str:
        inner = indent + "    "
        arms = [f"{inner}HEAT => {self.block(depth, inner)}\n"]
        if self.rng.random() < 0.5:
            arms += [f"{inner}OFF, COOL => {self.block(depth, inner)}\n"]
        else:
            arms += [f"{inner}else => {self.block(depth, inner)}\n"]
        return f"match {self.expr('Mode', 1)} {{\n{''.join(arms)}{indent}}}"

    def loop(self, depth: int, indent: str) -> str:
        name, before = self.name(), self.in_loop
        self.in_loop = True
        kind = self.rng.choice(("range", "bounded", "ints", "parts"))
        head = {
            "range": f"{self.rng.randint(-2, 1)}..{self.rng.randint(2, 5)}",
            "bounded": f"{self.expr('int', 2)}..{self.expr('int', 2)} max {self.rng.randint(1, 6)}",
        }.get(kind, kind)
        self.visited += [kind] if kind in ("ints", "parts") else []
        self.locals.append((name, "Part" if kind == "parts" else "int", False))
        text = f"for {name} in {head} {self.block(depth, indent)}"
        self.locals.pop()
        if kind in ("ints", "parts"):
            self.visited.pop()
        self.in_loop = before
        return text

    # --- handlers ---------------------------------------------------------------------------------------------------

    def handler(self, number: int) -> str:
        """Return one handler."""
        trigger = self.rng.choice((
            "every 500ms", "every 1s", 'cron "0 6 * * 1-5"', "gpio DOOR changes", f'event "e" as event{number}: Event',
            f'mqtt "a/+" as event{number}: Event key name',
        ))  # fmt: skip
        self.payload = f"event{number}" if "as event" in trigger else ""
        self.locals, self.windows = [], 0
        lines = [self.statement(0, "        ") for _ in range(self.rng.randint(1, 6))]
        return f"    on {trigger} {{\n{''.join(lines)}    }}\n"


Maker = Callable[[_Rule, int], str]


def _operation(kind: str, operators: tuple[str, ...]) -> Maker:
    return lambda r, d: f"({r.expr(kind, d)} {r.rng.choice(operators)} {r.expr(kind, d)})"


def _call(template: str, *kinds: str) -> Maker:
    return lambda r, d: template.format(*(r.expr(kind, d) for kind in kinds))


def _choice(kind: str) -> Maker:
    return lambda r, d: f"(if {r.condition(d)} then {r.expr(kind, d)} else {r.expr(kind, d)})"


def _hysteresis(r: _Rule, d: int) -> str:
    if r.in_loop:
        return r.leaf("bool")
    return f"({r.expr('float', d)} {r.rng.choice(('>', '<', '>=', '<='))} {r.expr('float', d)} hysteresis 2.5)"


def _count(r: _Rule, d: int) -> str:
    if r.in_loop or r.windows > 3:
        return r.leaf("int")
    r.windows += 1
    return f"count({r.expr('bool', d)}, last {r.rng.choice(('3', '2s max 5'))})"


_COMPARE = ("==", "!=", "<", "<=", ">", ">=")
_MAKERS: dict[str, tuple[Maker, ...]] = {
    "bool": (
        _operation("bool", ("and", "or", "==")), _operation("int", _COMPARE), _operation("float", _COMPARE),
        _operation("duration", _COMPARE), _operation("text(40)", ("==", "!=")), _operation("Mode", ("==", "!=")),
        _call("(not {})", "bool"), _call("is_nan({})", "float"), _call("contains({}, {})", "text(40)", "text(40)"),
        _call("starts_with({}, {})", "text(40)", "text(40)"), lambda r, d: r.condition(d), _hysteresis, _choice("bool"),
    ),
    "int": (
        _operation("int", ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")), _call("abs({})", "int"),
        _call("int({})", "float"), _call("(-{})", "int"), _call("min({}, {}, 3)", "int", "int"), _count,
        _call("clamp({}, 0, 9)", "int"), _call("len({})", "text(40)"), _choice("int"), lambda r, d: "weekday()",
        lambda r, d: r.rng.choice(("sum(ints)", "max(ints)", "len(parts)", "len([1, n])", f"ints[{r.index()}]")),
        lambda r, d: f"parts[{r.index(1)}].count",
    ),
    "float": (
        _operation("float", ("+", "-", "*", "/")), _operation("duration", ("/",)), _call("float({})", "int"),
        _call("sqrt({})", "float"), _call("round({})", "float"), _call("floor({})", "float"), _call("ceil({})", "float"),
        _call("max({}, {})", "float", "float"), _call("(-{})", "float"), _call("in_seconds({})", "duration"),
        _call("abs({})", "float"), _choice("float"), lambda r, d: r.window(d),
        lambda r, d: r.read("adc.read_channel(0)", "float"), lambda r, d: r.read("host.cpu_percent()", "float"),
        lambda r, d: r.rng.choice(("mean(floats)", "min(floats)", "mean(ints)", "sum(floats)", "sum([1.5, limit])")),
    ),
    "duration": (
        _operation("duration", ("+", "-", "%")), _call("({} * {})", "duration", "int"), _call("({} / {})", "duration", "int"),
        _call("seconds({})", "float"), lambda r, d: r.rng.choice(("now()", "time_of_day()", "sum(durations)")),
        _choice("duration"), _call("min({}, {})", "duration", "duration"),
    ),
    "text(40)": (
        lambda r, d: f'truncate("{{{r.leaf("float")}:2}} {{{r.leaf("int")}}} {{{r.leaf("Mode")}}}", 40)',
        lambda r, d: f'truncate({r.expr("text(40)", d)} + {r.expr("text(40)", d)}, 40)',
        _call("text({})", "int"), _call("text({})", "duration"), _call("text({})", "Mode"), _call("text({})", "bool"),
        _call("text({})", "float"), _choice("text(40)"),
        lambda r, d: 'truncate(text(gpio.read_pin(DOOR) else HIGH), 40)',
    ),
    "Mode": (_choice("Mode"), lambda r, d: f"parts[{r.index(1)}].mode",
             lambda r, d: '(llm.classify(label, Mode, "which?") retry 1 timeout 2s else OFF)'),
}  # fmt: skip
_STATEMENTS = (_Rule.let, _Rule.assign, _Rule.assign, _Rule.element, _Rule.change_list, _Rule.act)
_NESTED = (_Rule.branch, _Rule.branch, _Rule.match, _Rule.loop)


def random_rule(rng: random.Random) -> str:
    """Return the source of a rule that compiles (unless it is too large, or a constant part always traps)."""
    rule = _Rule(rng)
    handlers = "".join(rule.handler(number) for number in range(rng.randint(1, 3)))
    return f"rule generated {{\n{_HEAD}{handlers}}}\n"
