"""Diagnostics as JSON and as annotations of a GitHub workflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eyeflow.base.diagnostic import Diagnostic, Fix, Severity, Span
from eyeflow.compiler.source import Source


def render_json(diagnostics: Iterable[Diagnostic], source: str, name: str) -> list[dict[str, Any]]:
    """Return one mapping per diagnostic with everything that `render_text` shows.

    Lines and columns count from 1 and in characters, offsets from 0; `end` is the place behind the last character.
    """
    lines = Source(source)
    return [_facts(diagnostic, lines, name) for diagnostic in diagnostics]


def _facts(diagnostic: Diagnostic, lines: Source, name: str) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "file": name,
        **_range(diagnostic.span, lines),
        "label": diagnostic.label,
        "note": diagnostic.note,
        "help": diagnostic.help,
        "labels": [{"text": label.text, **_range(label.span, lines)} for label in diagnostic.labels],
        "fix": _fix(diagnostic.fix, lines),
        "explain": f"eyeflow explain {diagnostic.code}",
    }


def _range(span: Span, lines: Source) -> dict[str, Any]:
    return {"start": _place(span.start, lines), "end": _place(span.end, lines)}


def _place(offset: int, lines: Source) -> dict[str, int]:
    position = lines.position(offset)
    return {"line": position.line, "column": position.column, "offset": offset}


def _fix(fix: Fix | None, lines: Source) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {"title": fix.title, "replacement": fix.replacement, **_range(fix.span, lines)}


def render_github(diagnostics: Iterable[Diagnostic], source: str, name: str) -> str:
    """Return one workflow command a line, which GitHub shows at the line of the pull request.

    Source: "Workflow commands for GitHub Actions", setting an error message.
    """
    lines = Source(source)
    return "".join(_annotation(diagnostic, lines, name) + "\n" for diagnostic in diagnostics)


def _annotation(diagnostic: Diagnostic, lines: Source, name: str) -> str:
    start, end = lines.position(diagnostic.span.start), lines.position(diagnostic.span.end)
    properties = {"file": name, "line": start.line, "endLine": end.line, "col": start.column, "endColumn": end.column}
    if start.line != end.line:
        del properties["col"], properties["endColumn"]  # GitHub refuses columns on a range of lines
    properties["title"] = f"{diagnostic.code}: {diagnostic.message}"
    command = "error" if diagnostic.severity is Severity.ERROR else "warning"
    body = [diagnostic.label or diagnostic.message]
    body += [f"note: {diagnostic.note}"] if diagnostic.note else []
    body += [f"help: {diagnostic.help}"] if diagnostic.help else []
    listed = ",".join(f"{key}={_escape_property(str(value))}" for key, value in properties.items())
    text = "\n".join(body)
    return f"::{command} {listed}::{_escape_data(text)}"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
