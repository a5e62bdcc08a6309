"""`--json` is never without effect: every way to use a command that prints a result prints JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import RULE, Command

WIDE = RULE.replace("seen + 1", "seen    +    1")


@pytest.mark.parametrize("options", [(), ("--check",), ("--diff",)])
@pytest.mark.parametrize("name", ["lamp.eye", "-"])
@pytest.mark.parametrize("text", [RULE, WIDE, "rule broken {"], ids=["as it is", "wide", "broken"])
def test_fmt_prints_json_with_all_its_options(
    eyeflow: Command, tmp_path: Path, text: str, name: str, options: tuple[str, ...]
) -> None:
    path = tmp_path / "lamp.eye"
    path.write_text(text)
    ran = eyeflow("fmt", name, *options, "--json", stdin=text.encode())
    told, changes = json.loads(ran.out), text is WIDE
    broken = int("broken" in text)
    assert (told["broken"], len(told["diagnostics"]) > 0) == (broken, bool(broken))
    prints = name == "-" and not options
    assert told["formatted"] == (RULE if prints and not broken else None)
    assert len(told["changed"]) == (changes and not prints)
    assert ("-    seen = seen    +    1" in "".join(told["diffs"].values())) == (changes and "--diff" in options)
    assert ran.code == (1 if broken or (changes and options) else 0) and "error" not in ran.err
    assert path.read_text() == (RULE if changes and name == "lamp.eye" and not options else text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "lamp.eye"), ("check", "lamp.eye", "--format", "github"), ("test", "lamp.eye", "--cov", "--format", "concise"),
        ("compile", "lamp.eye"), ("compile", "lamp.eye", "--emit", "asm"), ("inspect", "lamp.svm", "--disasm"), ("explain",),
        ("explain", "EF0203"), ("keys", "list"), ("keys", "show"), ("mcu", "chips"), ("sign", "lamp.svm"),
        ("mcu", "new", "--chip", "RP2040", "--force"), ("mcu", "flash", "--chip", "RP2040", "--dry-run"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_results_are_json(eyeflow: Command, rule: Path, arguments: tuple[str, ...]) -> None:
    assert eyeflow("keys", "new").code == 0
    assert eyeflow("compile", rule).code == 0
    ran = eyeflow(*arguments, "--json")
    assert ran.code == 0 and json.loads(ran.out)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
@pytest.mark.parametrize(
    "arguments",
    [("test", "lamp.eye", "--cov-min"), ("deploy", "lamp.eye", "--all", "--timeout"), ("mcu", "list", "--timeout"), ("mcu", "sim", "--speed")],
    ids=" ".join,
)  # fmt: skip
def test_numbers_of_options_are_finite(eyeflow: Command, rule: Path, arguments: tuple[str, ...], value: str) -> None:
    ran = eyeflow(*arguments, value)
    assert ran.code == 2 and arguments[-1] in ran.err, ran.err
