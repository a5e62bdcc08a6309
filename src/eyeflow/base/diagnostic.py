"""A problem in the user's source, as data: renderers in `eyeflow.cli` and `eyeflow.compiler.render` show it."""

from __future__ import annotations

from enum import Enum

from eyeflow.base.record import dataclass


class Severity(Enum):
    """How bad a diagnostic is; only an error stops the compiler."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range [start, end) of character offsets into one source text."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.start, max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Label:
    """A secondary place that explains the first: `declared here`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A replacement for the text at `span` that would mend the problem."""

    span: Span
    replacement: str
    title: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: its code, what is wrong at which place, why (`note`), and what to write instead (`help`)."""

    code: str
    message: str
    span: Span
    label: str = ""
    note: str = ""
    help: str = ""
    severity: Severity = Severity.ERROR
    labels: tuple[Label, ...] = ()
    fix: Fix | None = None
