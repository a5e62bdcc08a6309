"""The tree of valid sources, and recovery behind mistakes."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eye_sources as sources
from eyeflow.base.diagnostic import Span
from eyeflow.base.errors import EyeflowError
from eyeflow.compiler import ast
from eyeflow.compiler.parser import parse
from eyeflow.compiler.parser.cursor import NESTING_MAX, OPERATORS_MAX
from eyeflow.compiler.parser.parse import DIAGNOSTICS_MAX


def expression(text: str) -> ast.Expr:
    result = parse(f"rule a {{\n on every 1s\n let x = {text}\n}}\n")
    assert not result.diagnostics
    assert result.rule is not None
    statement = result.rule.handlers[0].body.statements[0]
    assert isinstance(statement, ast.Let)
    return statement.value


def shape(expr: object) -> object:
    """An expression as nested tuples, to compare how operators bind."""
    match expr:
        case ast.BinaryExpr():
            band = (shape(expr.hysteresis),) if expr.hysteresis else ()
            return (expr.operator, shape(expr.left), shape(expr.right), *band)
        case ast.UnaryExpr():
            return (expr.operator, shape(expr.operand))
        case ast.TimeExpr():
            return (expr.word.value, shape(expr.condition), *([shape(expr.duration)] if expr.duration else []))
        case ast.IfExpr():
            return ("if", shape(expr.condition), shape(expr.then), shape(expr.otherwise))
        case ast.CallExpr():
            name = ".".join(part.text for part in expr.path)
            failure = (shape(expr.failure.fallback),) if expr.failure and expr.failure.fallback else ()
            return (name, *(shape(argument.value) for argument in expr.args), *failure)
        case ast.FieldExpr():
            return (".", shape(expr.base), expr.field.text)
        case ast.IndexExpr():
            return ("[]", shape(expr.base), shape(expr.index))
        case ast.NameExpr():
            return expr.name
        case ast.IntLiteral() | ast.FloatLiteral() | ast.BoolLiteral():
            return expr.value
        case ast.DurationLiteral():
            return f"{expr.value_us}us"
    raise AssertionError(expr)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1 + 2 * 3", ("+", 1, ("*", 2, 3))),
        ("1 - 2 - 3", ("-", ("-", 1, 2), 3)),
        ("(1 - 2) - 3", ("-", ("-", 1, 2), 3)),
        ("1 - (2 - 3)", ("-", 1, ("-", 2, 3))),
        ("a & 1 + 2", ("&", "a", ("+", 1, 2))),
        ("a & b == c", ("==", ("&", "a", "b"), "c")),
        ("a or b and c", ("or", "a", ("and", "b", "c"))),
        ("a and b or c", ("or", ("and", "a", "b"), "c")),
        ("not a == b", ("not", ("==", "a", "b"))),
        ("not not a and b", ("and", ("not", ("not", "a")), "b")),
        ("-a * b", ("*", ("-", "a"), "b")),
        ("- -a.b", ("-", ("-", (".", "a", "b")))),
        ("-9223372036854775808", -(2**63)),
        ("a > b hysteresis c + 1 and d", ("and", (">", "a", "b", ("+", "c", 1)), "d")),
        ("a and b for 2s", ("for", ("and", "a", "b"), "2000000us")),
        ("a > 1 for 2s cooldown 10min", ("cooldown", ("for", (">", "a", 1), "2000000us"), "600000000us")),
        ("a > 1 rises for 2s falls", ("falls", ("for", ("rises", (">", "a", 1)), "2000000us"))),
        ("a and (b for hold)", ("and", "a", ("for", "b", "hold"))),
        ("if a then b else c + 1", ("if", "a", "b", ("+", "c", 1))),
        ("if a then x.f() else c", ("if", "a", ("x.f",), "c")),
        ("if a then (x.f() else 1) else c", ("if", "a", ("x.f", 1), "c")),
        ("x.f(1) else 2 * 3", ("*", ("x.f", 1, 2), 3)),
        ("x.f(1,\n 2,\n)", ("x.f", 1, 2)),
        ("a.b[1].c", (".", ("[]", (".", "a", "b"), 1), "c")),
        ("a\n + 1\n and b", ("and", ("+", "a", 1), "b")),
        ("a +\n 1", ("+", "a", 1)),
        ("a > 1\n cooldown 1s", ("cooldown", (">", "a", 1), "1000000us")),
        ("(a\n for 2s)", ("for", "a", "2000000us")),
        ("r.last", (".", "r", "last")),
    ],
)
def test_how_operators_bind(text: str, tree: object) -> None:
    assert shape(expression(text)) == tree


def test_a_loop_on_the_next_line_is_no_hold_time() -> None:
    result = parse("rule a {\n on every 1s\n x = b\n for i in 0..2 { y = i }\n}")
    assert not result.diagnostics
    assert result.rule is not None
    assert [type(statement) for statement in result.rule.handlers[0].body.statements] == [ast.Assign, ast.ForRange]


def test_every_construct_is_read() -> None:
    result = parse(sources.EVERY_CONSTRUCT)
    assert not result.diagnostics
    rule = result.rule
    assert rule is not None
    assert (len(rule.enums), len(rule.records), len(rule.pins), len(rule.params)) == (1, 2, 2, 2)
    assert (len(rule.consts), len(rule.states), len(rule.handlers), len(rule.tests)) == (2, 3, 5, 1)
    assert [handler.braced for handler in rule.handlers] == [True, True, True, True, False]
    assert {type(step) for step in rule.tests[0].steps} == set(ast.Step.__args__)
    seen = {type(node) for node in _nodes(rule)}
    assert not set(ast.Statement.__args__) - seen
    assert set(ast.Expr.__args__) - seen == {ast.ErrorExpr}
    assert set(ast.TriggerDecl.__args__) <= seen


def _nodes(node: Any) -> list[Any]:
    found = [node]
    for name in getattr(node, "__dataclass_fields__", ()):
        value = getattr(node, name)
        for child in value if isinstance(value, tuple) else (value,):
            if hasattr(child, "__dataclass_fields__") and not isinstance(child, Span):
                found += _nodes(child)
    return found


@pytest.mark.parametrize("name", sources.ALL)
def test_every_node_lies_inside_its_parent(name: str) -> None:
    source = sources.ALL[name]
    rule = parse(source).rule
    assert rule is not None
    for node in _nodes(rule):
        outer = node.span
        for child in _nodes(node)[1:]:
            assert outer.start <= child.span.start <= child.span.end <= outer.end, (node, child)


@pytest.mark.parametrize("name", sources.ALL)
def test_valid_sources_parse(name: str) -> None:
    assert parse(sources.ALL[name]).diagnostics == ()


def test_statements_behind_a_mistake_are_read() -> None:
    source = "rule a {\n on every 1s {\n  x = )\n  y = 1\n  if y = 1 { z = 2 }\n  w = 3\n }\n}\n"
    result = parse(source)
    assert [diagnostic.code for diagnostic in result.diagnostics] == ["EF0120", "EF0130"]
    assert result.rule is not None
    assert len(result.rule.handlers[0].body.statements) == 3


MISTAKES = [
    ("pin RELAY: output", "pin RELAY: outptu"),
    ("param limit: float = 80.0 in", "param limit = 80.0 in"),
    ("state trips: int = 0", "state trips = 0"),
    ("on every 500ms", "on every 500"),
    ("var n = -1 +", "var n -1 +"),
    ("for 2s cooldown", "for 2 cooldown"),
    ("} else if temp rises", "} elif temp rises"),
    ("for x in recent {", "for x recent {"),
    ("append(recent, temp)", "append(recent, temp"),
    ("emit overheated(temp: temp,", "emit overheated(temp = temp,"),
    ("HEAT, COOL =>", "HEAT | COOL =>"),
    ("on gpio DOOR changes", "on gpio DOOR change"),
    ("given limit = 70.0", "given limit == 70.0"),
    ("expect trips == 1", "expect trips = 1"),
    ('test "every step"', "test every step"),
    ("given adc.read_channel(1) fails", "givn adc.read_channel(1) fails"),
    ('version "1.2.0"', "version 1.2.0"),
]


@pytest.mark.parametrize("seed", range(60))
def test_three_mistakes_give_three_messages(seed: int) -> None:
    mistakes = random.Random(seed).sample(MISTAKES, 3)
    source = sources.EVERY_CONSTRUCT
    for right, wrong in mistakes:
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    diagnostics = parse(source).diagnostics
    assert len(diagnostics) == 3, [(wrong, diagnostics) for _, wrong in mistakes]


@pytest.mark.parametrize(("right", "wrong"), MISTAKES)
def test_one_mistake_gives_one_message_on_its_line(right: str, wrong: str) -> None:
    source = sources.EVERY_CONSTRUCT.replace(right, wrong)
    (diagnostic,) = parse(source).diagnostics
    line = source.count("\n", 0, source.index(wrong))
    assert source.count("\n", 0, diagnostic.span.start) == line


def rule_of(body: str) -> str:
    return "rule a {\non every 1s\n" + body + "\n}\n"


DEEP = {
    "parentheses": lambda n: f"let x = {'(' * n}1{')' * n}",
    "lists": lambda n: f"let x = {'[' * n}1{']' * n}",
    "calls": lambda n: f"let x = {'abs(' * n}1{')' * n}",
    "indexes": lambda n: f"let x = {'a[' * n}1{']' * n}",
    "minus": lambda n: f"let x = {'- ' * n}1",
    "not": lambda n: f"let x = {'not ' * n}true",
    "if expressions": lambda n: f"let x = {'if true then 1 else ' * n}1",
    "if conditions": lambda n: f"let x = {'if ' * n}true{' then 1 else 2' * n}",
    "blocks": lambda n: "if true {\n" * n + "x = 1\n" + "}\n" * n,
    "else if": lambda n: "if true { x = 1 }" + " else if true { x = 1 }" * n,
    "matches": lambda n: "match m { A => {\n" * n + "x = 1\n" + "} }\n" * n,
    "interpolations": lambda n: f'let x = "{{{"(" * n}1{")" * n}}}"',
    "types": lambda n: f"let x: {'list(' * n}int{', 1)' * n} = 1",
    "unclosed parentheses": lambda n: f"let x = {'(' * n}",
    "unclosed blocks": lambda n: "if true {\n" * n,
    "sum": lambda n: "let x = 1" + " + 1" * n,
    "comparison chain": lambda n: "let x = 1" + " < 1" * n,
    "powers": lambda n: "let x = 1" + " or 1 and 1 == 1 + 1 * 1" * n,
    "fields": lambda n: "let x = a" + ".b" * n,
    "calls of calls": lambda n: "let x = a" + "[0]" * n,
    "time words": lambda n: "let x = a" + " rises" * n,
    "texts": lambda n: "let x = " + '"{' * n + "1" + '}"' * n,
    "sends": lambda n: "x = 1 " + "{ " * n,
}


@pytest.mark.parametrize("name", DEEP)
def test_ten_thousand_levels_are_refused_and_never_crash(name: str) -> None:
    diagnostics = parse(rule_of(DEEP[name](10_000))).diagnostics
    assert 1 <= len(diagnostics) <= 3
    if "unclosed" not in name and name not in ("comparison chain", "sends"):
        assert diagnostics[0].code in ("EF0136", "EF0137"), diagnostics[0]


@pytest.mark.parametrize("name", ["parentheses", "lists", "minus", "not", "blocks"])
def test_the_bound_of_nesting_is_exact(name: str) -> None:
    assert not parse(rule_of(DEEP[name](NESTING_MAX - 4))).diagnostics
    assert parse(rule_of(DEEP[name](NESTING_MAX + 1))).diagnostics


def test_the_bound_of_operators_is_exact() -> None:
    assert not parse(rule_of(DEEP["sum"](OPERATORS_MAX))).diagnostics
    (diagnostic,) = parse(rule_of(DEEP["sum"](OPERATORS_MAX + 1))).diagnostics
    assert diagnostic.code == "EF0137"


def test_problems_are_bounded() -> None:
    assert len(parse(rule_of("x\n" * 1000)).diagnostics) == DIAGNOSTICS_MAX


def test_a_source_of_ten_megabytes_is_refused() -> None:
    with pytest.raises(EyeflowError, match="too large"):
        parse("x" * 10_000_000)


NEWLINE = "\n"
WORDS = """
rule test on every if else for in match let var state param enum record given send expect after emit true
x y RELAY 1 2.0 3s "t" "{x}" ( ) [ ] { } , : . .. = == + - => #
"""


@given(st.lists(st.sampled_from([*WORDS.split(), NEWLINE, NEWLINE]), max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_sequence_of_words_gives_a_result(words: list[str]) -> None:
    source = "rule a {\n" + " ".join(words)
    result = parse(source)
    for diagnostic in result.diagnostics:
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(source)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_give_a_result(data: bytes) -> None:
    parse(data.decode("utf-8", "replace"))


def mutated(source: str, random_: random.Random) -> str:
    """Cut, repeat, swap or replace pieces of a valid source."""
    text = source
    for _ in range(random_.randint(1, 6)):
        start = random_.randrange(len(text) + 1)
        end = min(len(text), start + random_.choice((1, 1, 2, 5, 20, 100)))
        piece = random_.choice(("", text[start:end] * 2, random_.choice('{}()[]"#=.,:\n;&!é\t\x00'), "if ", "test "))
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.parametrize("seed", range(150))
def test_mutated_sources_give_a_result(seed: int) -> None:
    random_ = random.Random(seed)
    source = mutated(random_.choice(list(sources.ALL.values())), random_)
    result = parse(source)
    if result.rule is None:
        assert result.diagnostics
    places = [diagnostic.span.start for diagnostic in result.diagnostics]
    assert places == sorted(places)


def test_time_grows_with_size_and_not_faster() -> None:
    """Ten times the source takes about ten times as long; a quadratic step would take a hundred times."""
    line = '    x = a + b * 2.0 # why\n    if x > 5 for 2s { log.info("{x:1}") }\n'
    small, large = rule_of(line * 150), rule_of(line * 1500)

    def cost(source: str) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            assert not parse(source).diagnostics
            times.append(time.process_time() - start)
        return min(times)

    assert cost(large) < 40 * cost(small)
