"""The one style of rule files."""

from __future__ import annotations

from eyeflow.base.diagnostic import Diagnostic
from eyeflow.compiler.format.layout import lay_out
from eyeflow.compiler.format.lines import Line, logical_lines
from eyeflow.compiler.format.same import difference
from eyeflow.compiler.parser import parse
from eyeflow.compiler.parser.cursor import Marks

INDENT = "    "


class FormatRefused(Exception):  # noqa: N818 - the user's source is at fault, which the diagnostics say
    """The source does not parse; `diagnostics` say why. It was left alone."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(f"{len(diagnostics)} problems in the source")
        self.diagnostics = diagnostics


class FormatterBug(Exception):  # noqa: N818 - a bug of eyeflow, which is reported as one
    """The formatter would break a rule. Nothing was written."""


def format_source(source: str) -> str:
    """Return `source` in the one style: same tokens, same comments, other blanks.

    Four blanks a level, single blanks, lines of at most 100 columns where they can be broken, at most one empty line in
    a row and one around every handler and test. Formatting twice changes nothing, and never changes the syntax tree.
    Raises FormatRefused for a source with problems. What would be returned is parsed and compared first: raises
    FormatterBug when it does not say the same, because a formatter that breaks a rule breaks a plant.
    """
    parsed = parse(source)
    if parsed.diagnostics:
        raise FormatRefused(parsed.diagnostics)
    shown: list[str] = []
    for line in logical_lines(source, parsed):
        shown += _shown(line, parsed.marks)
    formatted = "\n".join(shown) + "\n"
    if problem := difference(parsed, parse(formatted)):
        raise FormatterBug(f"the formatter would break this rule: {problem}. The file is unchanged")
    return formatted


def _shown(line: Line, marks: Marks) -> list[str]:
    rows: list[str] = []
    for comment in line.comments:
        rows += [""] if comment.blank_before else []
        rows.append(INDENT * comment.indent + comment.text)
    rows += [""] if line.blank_before else []
    if not line.tokens:
        return rows
    rows += lay_out(line.tokens, line.indent, marks)
    if line.trailing is not None:
        rows[-1] += f"  {line.trailing}"
    return rows
