"""Numbers and durations of the rule language."""

from __future__ import annotations

import re
from collections.abc import Callable

from eyeflow.base.diagnostic import Diagnostic, Fix, Span
from eyeflow.base.duration import UNITS_US, format_duration, parse_duration
from eyeflow.compiler.tokens import TextPiece, Token, TokenKind

INT_MAX = 2**63 - 1
"""The largest int; one more is accepted by the lexer for the sake of `-9223372036854775808`."""

_SHAPE = re.compile(
    r"(?P<dotted>[0-9]+(?:\.[0-9]+){2,}(?![A-Za-z0-9_]))"
    r"|(?P<prefixed>0[xXbBoO][0-9A-Za-z_]*)"
    r"|(?P<duration>(?:[0-9][0-9_]*(?:us|ms|min|s|h|d))+)(?![A-Za-z0-9_])"
    r"|(?P<number>[0-9][0-9_]*(?P<point>\.[0-9][0-9_]*)?(?P<exponent>[eE][+-]?[0-9][0-9_]*)?)(?P<word>[A-Za-z0-9_]*)"
)
_UNIT_WORDS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "S": "s",
    "millis": "ms", "msec": "ms", "millisecond": "ms", "milliseconds": "ms", "MS": "ms",
    "mins": "min", "minute": "min", "minutes": "min", "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "H": "h",
    "day": "d", "days": "d", "D": "d", "usec": "us", "micros": "us", "m": "min", "M": "min",
}  # fmt: skip
_UNIT_LACKING = re.compile(r"(?:[0-9]+(?:us|ms|min|s|h|d))+[0-9]+")
_WELL_FORMED = re.compile(r"[0-9]+(_[0-9]+)*")

Report = Callable[[Diagnostic], None]


def lex_number(source: str, start: int, report: Report) -> Token:
    """Return the number or duration that starts with the digit at `start`; problems go to `report`."""
    shape = _SHAPE.match(source, start)
    assert shape is not None, "called at a digit"
    span = Span(start, shape.end())
    if shape["dotted"]:
        return _dotted(shape[0], span, report)
    if shape["prefixed"]:
        return _prefixed(shape[0], span, report)
    if shape["duration"]:
        return _duration(shape[0], span, report)
    if shape["word"]:
        return _with_word(shape["number"], shape["word"], span, report)
    return _plain(shape, span, report)


def _dotted(text: str, span: Span, report: Report) -> Token:
    better = f'"{text}"'
    report(
        Diagnostic(
            "EF0105",
            f"`{_short(text)}` is not a number",
            span,
            label="has more than one point",
            help=f"a version is a text: write `{_short(better)}`",
            fix=Fix(span, better, "make it a text"),
        )
    )
    return Token(TokenKind.TEXT, text, span, pieces=(TextPiece(span, text),))


def _plain(shape: re.Match[str], span: Span, report: Report) -> Token:
    text = shape[0]
    digits = re.split(r"[.eE][+-]?", text)
    if not all(_WELL_FORMED.fullmatch(part) for part in digits):
        report(_malformed(text, span, "an underscore stands between two digits", "write 1_000"))
    if shape["point"] or shape["exponent"]:
        number = float(text.replace("_", ""))
        if number == float("inf"):
            report(_too_large(text, span, "the largest float is about 1.8e308"))
        return Token(TokenKind.FLOAT, text, span, number=number)
    return _int(text, text.replace("_", ""), 10, span, report)


def _prefixed(text: str, span: Span, report: Report) -> Token:
    base = {"x": 16, "b": 2}.get(text[1])
    digits = text[2:]
    if base is None:
        hint = f"write 0{text[1].lower()}{digits}" if text[1] in "XB" else "write it in decimal, or with 0x or 0b"
        report(_malformed(text, span, "numbers start with a digit, 0x or 0b", hint))
        return Token(TokenKind.INT, text, span)
    allowed = "[0-9A-Fa-f]" if base == 16 else "[01]"
    if not re.fullmatch(f"{allowed}+(_{allowed}+)*", digits):
        kind = "hexadecimal digits (0-9, A-F)" if base == 16 else "binary digits (0 and 1)"
        report(_malformed(text, span, f"0{text[1]} is followed by {kind}", "write for example 0x2A or 0b1010"))
        return Token(TokenKind.INT, text, span)
    return _int(text, digits.replace("_", ""), base, span, report)


def _int(text: str, digits: str, base: int, span: Span, report: Report) -> Token:
    significant = digits.lstrip("0")
    number = int(significant or "0", base) if len(significant) <= 64 else INT_MAX + 2
    if number > INT_MAX + 1:
        report(_too_large(text, span, f"the largest int is {INT_MAX}"))
        number = 0
    return Token(TokenKind.INT, text, span, number=number)


def _duration(text: str, span: Span, report: Report) -> Token:
    parts = [part.replace("_", "") for part in re.findall(r"[0-9_]+[a-z]+", text)]
    sizes = [UNITS_US[part.lstrip("0123456789")] for part in parts]
    if len(parts) > len(UNITS_US) or sizes != sorted(set(sizes), reverse=True):
        report(
            Diagnostic(
                "EF0106",
                f"`{_short(text)}` is not a duration: its units do not descend",
                span,
                label="each unit at most once, the largest first",
                help="write for example 1h30min",
            )
        )
        return Token(TokenKind.DURATION, text, span)
    try:
        number = parse_duration("".join(parts))
    except ValueError:
        report(_too_large(text, span, "the longest duration is 9223372036854775807us, about 292,000 years"))
        number = 0
    return Token(TokenKind.DURATION, text, span, number=number)


def _with_word(number: str, word: str, span: Span, report: Report) -> Token:
    """A number that runs into letters: a wrong unit, a fraction of a unit, or a name that starts with a digit."""
    if _UNIT_LACKING.fullmatch(number + word):
        report(
            Diagnostic(
                "EF0106",
                f"`{_short(number + word)}` is not a duration: its last unit is missing",
                span,
                label="ends with a number",
                help="write for example `1h30min`",
                note="units are us, ms, s, min, h and d",
            )
        )
        return Token(TokenKind.DURATION, number + word, span)
    unit = word if word in UNITS_US else _UNIT_WORDS.get(word)
    text = number + word
    if unit is None:
        report(
            _malformed(
                text,
                span,
                f"`{_short(word)}` is not a unit, and names do not start with a digit",
                "units are us, ms, s, min, h and d; put a blank or an operator between a number and a name",
            )
        )
        return Token(TokenKind.BROKEN, text, span)
    exact = float(number.replace("_", "")) * UNITS_US[unit]
    whole = exact < INT_MAX and exact == int(exact)
    better = format_duration(int(exact)) if whole else f"1{unit}"
    why = f"`{word}` is not a unit of time" if word not in UNITS_US else "a duration has whole numbers only"
    help_text = (
        f"write `{better}`"
        if word not in ("m", "M")
        else f"write `{number}min` for minutes or `{number}ms` for milliseconds"
    )
    fix = Fix(span, better, f"write {better}") if whole and word not in ("m", "M") else None
    report(
        Diagnostic(
            "EF0106",
            f"`{_short(text)}` is not a duration",
            span,
            label=why,
            help=help_text,
            note="units are us, ms, s, min, h and d",
            fix=fix,
        )
    )
    return Token(TokenKind.DURATION, text, span, number=int(exact) if whole else UNITS_US[unit])


def _malformed(text: str, span: Span, label: str, help_text: str) -> Diagnostic:
    return Diagnostic("EF0105", f"`{_short(text)}` is not a number", span, label=label, help=help_text)


def _too_large(text: str, span: Span, label: str) -> Diagnostic:
    return Diagnostic("EF0107", f"the number `{_short(text)}` is too large", span, label=label)


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:27] + "..."
