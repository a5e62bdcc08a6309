"""Handlers that must be told apart."""

from __future__ import annotations

from pathlib import Path

from eyeflow.compiler.compile import compile_rule

SOURCE = (Path(__file__).parent / "sources" / "equal_names.eye").read_text(encoding="utf-8")


def test_two_handlers_with_one_name_are_an_error_that_names_the_way_out() -> None:
    found = compile_rule(SOURCE, name="dup.eye").diagnostics
    assert [(one.code, one.label) for one in found] == [("EF0314", "the same name again")]  # and no echo in the tests
    assert SOURCE[found[0].span.start : found[0].span.end] == "reading"
    assert found[0].span.start > found[0].labels[0].span.start
    assert "`as reading_2`" in found[0].help


def test_the_name_that_is_proposed_is_free() -> None:
    third = SOURCE.replace('test "t"', 'on mqtt "z" as reading_2: Reading {}\n\n    test "t"')
    assert "`as reading_3`" in compile_rule(third, name="dup.eye").diagnostics[0].help


def test_handlers_with_names_of_their_own_are_told_apart() -> None:
    """The control: only the second handler of the rule has another name."""
    head, _, tail = SOURCE.partition('on mqtt "y" as reading')
    right = f'{head}on mqtt "y" as other{tail}'.replace(
        "send reading { v: 1.0 }\n        expect b", "send other { v: 1.0 }\n        expect b"
    )
    result = compile_rule(right, name="dup.eye")
    assert result.diagnostics == () and result.program is not None
