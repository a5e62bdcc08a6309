"""The formatter: one style, nothing lost, nothing changed in meaning."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eye_sources as sources
import golden
from eyeflow.base.diagnostic import Span
from eyeflow.compiler import ast
from eyeflow.compiler import format as formatter
from eyeflow.compiler.format import FormatRefused, FormatterBug, format_source
from eyeflow.compiler.format.layout import WIDTH
from eyeflow.compiler.lexer import tokenize
from eyeflow.compiler.parser import parse
from generators.rules import random_rule
from generators.syntax import nodes, random_source

CORPUS = Path(__file__).parent / "golden" / "format"
CASES = sorted(CORPUS.glob("*.eye"))
MANY = 40 if os.environ.get("EYEFLOW_FUZZ") == "full" else 1


def without_spans(node: object) -> object:
    if isinstance(node, tuple):
        return tuple(without_spans(child) for child in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    named = [(field.name, getattr(node, field.name)) for field in fields(node)]
    return (type(node), *((name, without_spans(value)) for name, value in named if not isinstance(value, Span)))


def comments_of(source: str) -> list[str]:
    return sorted(comment.text for token in tokenize(source)[0] for comment in token.comments)


def check_formatted(source: str) -> str:
    """Format `source` and hold everything the formatter promises."""
    once = format_source(source)
    before, after = parse(source), parse(once)
    assert after.diagnostics == ()
    assert without_spans(after.rule) == without_spans(before.rule)
    assert comments_of(once) == comments_of(source)
    assert format_source(once) == once
    assert "\n\n\n" not in once
    assert "\t" not in re.sub(r"#.*|\"[^\"\n]*\"", "", once)
    assert all(row == row.rstrip() for row in once.split("\n"))
    assert once.endswith("}\n") or "#" in once.split("\n")[-2]
    return once


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_style(path: Path) -> None:
    golden.check(path.with_suffix(".txt"), check_formatted(path.read_text(encoding="utf-8")))


def test_there_are_style_cases() -> None:
    assert len(CASES) >= 8
    assert {path.stem for path in CORPUS.glob("*.txt")} == {path.stem for path in CASES}


@pytest.mark.parametrize("name", sources.ALL)
def test_valid_sources_keep_their_meaning(name: str) -> None:
    check_formatted(sources.ALL[name])


@pytest.mark.parametrize("name", sources.EXAMPLES)
def test_the_examples_are_formatted(name: str) -> None:
    assert format_source(sources.EXAMPLES[name]) == sources.EXAMPLES[name]


def respaced(source: str, random_: random.Random) -> str:
    """The same tokens with other blanks, ends of lines and comments, wherever those mean nothing."""
    tokens = tokenize(source)[0]
    pieces: list[str] = []
    depth = 0
    for token in tokens[:-1]:
        gap = random_.choice((" ", "  ", "\t"))
        inside = depth > 0 and not token.line_start
        if token.line_start and pieces:
            gap = random_.choice(("\n", "\n\n\n", "\n    ", " # c\n", "\n # own\n", "\n\n# a\n\n# b\n\n"))
        elif inside and random_.random() < 0.3:
            gap = random_.choice(("\n", " # in\n", "\n# own in\n", "\n\n"))
        pieces += [gap if pieces else "", token.text]
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
    return "".join(pieces) + random_.choice(("", "\n", " # end", "\n\n# end\n"))


@pytest.mark.parametrize("seed", range(120))
def test_other_blanks_and_comments_keep_the_meaning(seed: int) -> None:
    random_ = random.Random(seed)
    check_formatted(respaced(random_.choice(list(sources.ALL.values())), random_))


@pytest.mark.parametrize("seed", range(20))
def test_other_blanks_give_the_same_text(seed: int) -> None:
    """Blanks inside a line are not the writer's choice: without them the result is the same."""
    source = format_source(sources.EVERY_CONSTRUCT)
    random_ = random.Random(seed)
    rows = []
    for row in source.split("\n"):
        parts = re.split(r'("(?:[^"\\]|\\.)*"|#.*)', row)
        parts[::2] = [re.sub(r" +", lambda _: random_.choice((" ", "  ", "\t")), part) for part in parts[::2]]
        rows.append("".join(parts) if "#" not in row and parts[1:] != ["", ""] else row)
    assert format_source("\n".join(rows)) == source


EXPRESSIONS = st.recursive(
    st.sampled_from(
        ["1", "0.5", "2s", '"t {x:1}"', "x", "r.last", "true", "adc.read_channel(0)", "a_rather_long_name"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "and", "or"]), inner).map(
            lambda part: f"({part[0]}) {part[1]} ({part[2]})"
        ),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"not ({text})"),
        inner.map(lambda text: f"({text}) for 2s cooldown 1min"),
        st.lists(inner, max_size=4).map(lambda items: f"max({', '.join(items)})"),
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.tuples(inner, inner, inner).map(lambda part: f"if {part[0]} then {part[1]} else ({part[2]})"),
        inner.map(lambda text: f"f.g({text}, name: {text}) retry 2 backoff 1s else 0"),
        inner.map(lambda text: f"list[{text}]"),
    ),
    max_leaves=12,
)


@given(st.lists(EXPRESSIONS, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_generated_expressions_keep_their_meaning(expressions: list[str]) -> None:
    lines = [f"let v{index} = {text}" for index, text in enumerate(expressions)]
    lines += [f"if {text} {{\nx = 1\n}}" for text in expressions]
    source = "rule a {\non every 1s\n" + "\n".join(lines) + "\n}"
    if not parse(source).diagnostics:  # above the bound of operators a source is refused
        check_formatted(source)


def test_lines_that_can_be_broken_keep_to_the_width() -> None:
    call = "mqtt.publish(" + ", ".join(f'"part number {index}"' for index in range(20)) + ") retry 2 else skip"
    condition = " and ".join(f"value_{index} > {index}.5" for index in range(20))
    source = f"rule a {{\non every 1s\n{call}\nif {condition} {{\n{call}\n}}\nlet x = {condition} for 2s\n}}"
    assert max(len(row) for row in check_formatted(source).split("\n")) <= WIDTH


# --- every construct of the grammar --------------------------------------------------------------------------------


def generated(seed: int) -> str:
    """A source of the generator; now and then one has more operators in an expression than the parser takes."""
    random_ = random.Random(seed)
    while parse(source := random_source(random_)).diagnostics:
        pass
    return source


@given(st.integers(0, 2**32))
@settings(max_examples=50 * MANY, deadline=None)
def test_every_construct_keeps_its_meaning_and_comments(seed: int) -> None:
    check_formatted(generated(seed))


@given(st.integers(0, 2**32))
@settings(max_examples=10 * MANY, deadline=None)
def test_generated_rules_keep_their_meaning(seed: int) -> None:
    check_formatted(random_rule(random.Random(seed)))


def test_the_generator_writes_every_node_of_the_tree_with_and_without_each_part() -> None:
    """A construct that the generator does not know would go through the formatter unseen."""
    found, parts = Counter[str](), Counter[tuple[str, str, bool]]()
    for seed in range(60):
        for node in nodes(parse(generated(seed)).rule):
            kind = type(node).__name__
            found[kind] += 1
            for field in fields(node):  # type: ignore[arg-type]
                parts[kind, field.name, getattr(node, field.name) in (None, ())] += 1
    classes = {name: value for name in ast.__all__ if is_dataclass(value := getattr(ast, name))}
    assert set(classes) - set(found) == {"ErrorExpr"}
    optional = [(name, f.name) for name, kind in classes.items() for f in fields(kind) if "None" in str(f.type)]
    assert len(optional) > 20
    unseen = [(*part, absent) for part in optional for absent in (True, False) if not parts[*part, absent]]
    assert unseen == []


def test_a_long_send_keeps_its_fields() -> None:
    """The line was broken before `name:` without a comma, and the parser took no field on a new line."""
    source = (sources.ROOT / "tests" / "unit" / "compiler" / "sources" / "long_send.eye").read_text(encoding="utf-8")
    formatted = check_formatted(source)
    assert "        send {\n            celsius: 1.0\n            name:" in formatted


def test_fields_on_lines_of_their_own_keep_a_comma_before_a_word_of_the_language() -> None:
    """`rises` at the start of a line would go on with the value above it."""
    fields_ = "celsius: 1.0, rises: 2, or: 3, last: 4, " + "x" * 80 + ": 5"
    formatted = check_formatted(f'rule a {{\non every 1s\ntest "t" {{\nsend r {{ {fields_} }}\n}}\n}}')
    assert "celsius: 1.0,\n            rises: 2,\n            or: 3,\n            last: 4\n" in formatted


@pytest.mark.parametrize(
    "source",
    [
        "rule a {\nrecord R { x: int\ny: int }\non every 1s\n}",
        "rule a {\nenum E { A\nB }\non every 1s\n}",
        "rule a {\non every 1s\nlet x = r.or + " + "y" * 60 + " + " + "z" * 60 + "\n}",
        "rule a {\non every 1s\nlet x = " + "y" * 60 + " + r.and(or: " + "z" * 60 + ")\n}",
        'rule a {\non mqtt "' + "x" * 80 + '" as reading: Reading key and {}\n}',
        "rule a {\non every 1s\nmatch m {\nA,\n# about B\nB => {}\n}\n}",
        "rule a {\non every 1s\nif a {\nx = 1\n} else if (b # why\n) {}\nx = 2\n}",
        "rule a {\non every 1s\nlet x = " + "f" * 40 + "(\n1,) - " + "g" * 50 + '("x") for 1s\n}',
    ],
    ids=("record", "enum", "field_or", "argument_or", "key_and", "arm", "empty_else_if", "trailing_comma"),
)
def test_what_the_generator_found_first(source: str) -> None:
    check_formatted(source)


@pytest.mark.parametrize("broken", ["", "drop", "comment", "repeat"])
def test_a_formatter_that_breaks_a_rule_refuses_to(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control is the empty change: the real layout passes."""
    source = "rule a {\non every 1s\nx = 1  # why\n}"
    real = formatter._shown
    changes = {
        "drop": lambda rows: [row.replace("x = 1", "x = 2") for row in rows],
        "comment": lambda rows: [row.replace("# why", "") for row in rows],
        "repeat": lambda rows: [row.replace("# why", "# why\n# why") for row in rows],
    }
    change = changes.get(broken, lambda rows: rows)
    monkeypatch.setattr(formatter, "_shown", lambda line, marks: change(real(line, marks)))
    if not broken:
        assert format_source(source).count("# why") == 1
        return
    with pytest.raises(FormatterBug, match="The file is unchanged"):
        format_source(source)


def test_a_source_with_problems_is_refused_and_says_why() -> None:
    with pytest.raises(FormatRefused) as refused:
        format_source("rule a {\n x = 1\n}")
    assert [diagnostic.code for diagnostic in refused.value.diagnostics] == ["EF0148"]


@pytest.mark.parametrize("seed", range(80))
def test_mutated_sources_are_formatted_or_refused(seed: int) -> None:
    random_ = random.Random(1000 + seed)
    text = random_.choice(list(sources.ALL.values()))
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(text))
        text = (
            text[:at]
            + random_.choice(("", " ", "\n", "#", "(", "}", ", ", "# c\n"))
            + text[at + random_.choice((0, 1)) :]
        )
    if parse(text).diagnostics:
        with pytest.raises(FormatRefused):
            format_source(text)
    else:
        check_formatted(text)
