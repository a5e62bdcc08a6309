"""Conditions that can never be: found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import eye_sources as sources
from eyeflow.compiler.compile import compile_rule

HEAD = """rule r {
    version "1.0.0"
    record I { b: bool = false }
    record R { inner: I, v: float, flag: bool = true, bs: list(bool, 4) = [] }
    param p: bool = true
    state s: bool = false
    on event "e" as r: R
    let hot = r.v > 1.0
    let wet = r.v > 2.0
    var other = r.v > 3.0
    other = wet
    BODY
}
"""


def found(source: str) -> list[str]:
    diagnostics = compile_rule(source, name="r.eye").diagnostics
    return [source[one.span.start : one.span.end] for one in diagnostics if one.code == "EF0904"]


def test_a_value_that_is_false_in_a_branch_never_falls_there() -> None:
    """`for` in the branch of its own condition is no mistake: it holds as long as the branch is taken."""
    assert found((Path(__file__).parent / "sources" / "dead.eye").read_text(encoding="utf-8")) == ["hot falls"]


ACT = '{ log.info("x") }'


@pytest.mark.parametrize(
    ("body", "dead"),
    [
        (f"if hot {{ if hot {ACT} }}", ["hot"]),
        (f"if hot {{ if hot falls {ACT} }}", ["hot falls"]),
        (f"if not hot {{ if hot for 5s {ACT} }}", ["hot for 5s"]),
        (f"if hot and wet {{ if not wet or not hot {ACT} }}", ["not wet or not hot"]),
        (f"if hot or wet {ACT} else {{ if wet cooldown 1min {ACT} }}", ["wet cooldown 1min"]),
        (f"if p {{ if not p {ACT} }}", ["not p"]),
        (f"if r.flag {{ for i in 0..2 {{ if not r.flag {ACT} }} }}", ["not r.flag"]),
        # What an event can change, or a time word can see:
        (f"if hot {{ if hot rises {ACT} }}", []),
        (f"if hot {{ if hot for 5s {ACT} }}", []),
        (f"if hot {{ if hot cooldown 5s {ACT} }}", []),
        (f"if s {{ if not s {ACT} }}", []),
        (f"if other {{ other = wet\nif not other {ACT} }}", []),
        (f"if hot or wet {{ if hot {ACT} }}", []),
        (f"if hot and wet {ACT} else {{ if hot {ACT} }}", []),
        (f"if hot rises {{ if hot {ACT} }}", []),
        (f"if hot {ACT}\nif hot falls {ACT}", []),
        # A record that is stored again, as a whole or in part; what a loop or a match sees anew:
        (f"var i = r.inner\nif i.b {{ i = I(b: wet)\nif i.b {ACT} }}", []),
        (f"var i = r.inner\nif not i.b {{ i.b = true\nif i.b {ACT} }}", []),
        (f"for b in r.bs {{ if b {ACT}\nif not b {ACT} }}", []),
        (f"for a in r.bs {{ if a {{ for b in r.bs {{ if not b {ACT} }} }} }}", []),
        (f"var seen = false\nfor b in r.bs {{ if seen {{ if b {ACT} }} else {{ if b {{ seen = true }} }} }}", []),
        (f"if r.bs[0] {{ if r.bs[1] {ACT} }}", []),
        (f"if p {{ let z = hot\nif z {ACT} }} else {{ let z = wet\nif not z {ACT} }}", []),
        (f"if (if hot then wet else p) {{ if hot {ACT} }}", []),
        (f"if hot == wet {{ if hot {ACT} }}", []),
        (f"if r.inner.b {{ if not r.inner.b {ACT} }}", ["not r.inner.b"]),
    ],
)
def test_only_what_a_branch_decides_is_reported(body: str, dead: list[str]) -> None:
    assert found(HEAD.replace("BODY", body)) == dead


@pytest.mark.parametrize("name", sources.EXAMPLES)
def test_the_examples_have_no_such_condition(name: str) -> None:
    assert found(sources.EXAMPLES[name]) == []
