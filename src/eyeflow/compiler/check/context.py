"""What all parts of the checker share: the catalog, the names that are known, and the problems found so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field
from enum import Enum

from eyeflow.base.diagnostic import Diagnostic, Fix, Label, Severity, Span
from eyeflow.base.names import near
from eyeflow.base.record import dataclass
from eyeflow.compiler import typed as t
from eyeflow.compiler import types
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.hardware import Hardware
from eyeflow.svm.program import Pin, Profile, Type

DIAGNOSTICS_MAX = 100


class TooManyProblems(Exception):  # noqa: N818 - it ends checking, it is no error of the checker
    """So many problems have been found that further ones help nobody."""


class SymbolKind(Enum):
    """What a name stands for; the value is how messages call it."""

    PIN = "pin"
    PARAM = "parameter"
    CONST = "constant"
    STATE = "state"
    PAYLOAD = "payload"
    LET = "value"
    VAR = "variable"
    LOOP = "loop variable"


class Mode(Enum):
    """Where an expression stands, and so what it may use."""

    CONSTANT = "a constant"
    HANDLER = "a handler"
    CONDITION = "the condition of a test"


@dataclass(eq=False, slots=True)
class Symbol:
    """A declared name: a constant with a value, or a variable with slots."""

    name: str
    kind: SymbolKind
    type: Type
    span: Span
    variable: t.Variable | None = None
    const: t.Const | None = None
    is_read: bool = False
    is_written: bool = False


@dataclass(slots=True)
class Context:
    """The state of checking one rule."""

    catalog: Catalog
    profile: Profile
    hardware: Hardware | None
    source: str
    diagnostics: list[Diagnostic] = field(default_factory=list)
    types: dict[str, Type] = field(default_factory=dict)
    type_spans: dict[str, Span] = field(default_factory=dict)
    field_defaults: dict[tuple[str, str], t.Expr] = field(default_factory=dict)
    scopes: list[dict[str, Symbol]] = field(default_factory=lambda: [{}])
    pins: list[Pin] = field(default_factory=list)
    params: list[t.Param] = field(default_factory=list)
    states: list[t.State] = field(default_factory=list)
    hidden_states: list[t.State] = field(default_factory=list)
    all_symbols: list[Symbol] = field(default_factory=list)
    events: dict[str, tuple[tuple[str, Type], ...]] = field(default_factory=dict)
    event_spans: dict[str, Span] = field(default_factory=dict)
    used_capabilities: set[str] = field(default_factory=set)
    mode: Mode = Mode.CONSTANT
    loop_spans: list[Span] = field(default_factory=list)
    visited_lists: list[t.Variable] = field(default_factory=list)
    period_us: int | None = None
    pending: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Declares, on demand, a type or constant that stands further down."""
    open_names: list[str] = field(default_factory=list)

    @property
    def text_bytes_max(self) -> int:
        """The longest text of the profile."""
        return types.TEXT_BYTES_MAX[self.profile]

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        note: str = "",
        help: str = "",
        labels: tuple[Label, ...] = (),
        fix: Fix | None = None,
    ) -> t.ErrorExpr:
        """Add an error and return the expression that stands for it; raises TooManyProblems at DIAGNOSTICS_MAX."""
        if len(self.diagnostics) >= DIAGNOSTICS_MAX:
            raise TooManyProblems
        self.diagnostics.append(
            Diagnostic(code, message, span, label, note, help, Severity.ERROR, labels=labels, fix=fix)
        )
        return t.ErrorExpr(types.ERROR, span)

    def warn(self, code: str, message: str, span: Span, label: str = "", *, note: str = "", help: str = "") -> None:
        """Add a warning."""
        self.diagnostics.append(Diagnostic(code, message, span, label, note, help, Severity.WARNING))

    # --- names -------------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Symbol | None:
        """Return the innermost symbol of a name."""
        self.declare_pending(name)
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def declare_pending(self, name: str) -> None:
        """Declare what stands further down, when `name` is such a type or constant."""
        declare = self.pending.pop(name, None)
        if declare is not None:
            self.open_names.append(name)
            declare()
            self.open_names.remove(name)

    def needs_itself(self, name: str, span: Span) -> bool:
        """Report a declaration that is used while it is being declared."""
        if name not in self.open_names:
            return False
        self.error("EF0228", f"`{name}` is declared by means of itself", span, "needs itself")
        return True

    def declare(self, symbol: Symbol) -> Symbol:
        """Make a name known in the innermost scope; a name that is visible already is an error."""
        known = self.find(symbol.name)
        if known is not None:
            self.error(
                "EF0201",
                f"`{symbol.name}` is declared twice",
                symbol.span,
                "declared again here",
                note="names do not hide each other",
                help="choose another name",
                labels=(Label(known.span, f"`{known.name}` is a {known.kind.value} since here"),),
            )
        self.scopes[-1][symbol.name] = symbol
        self.all_symbols.append(symbol)
        return symbol

    def enums_with(self, member: str) -> list[Type]:
        """Return the enums that have a member of this name."""
        return [kind for kind in self.types.values() if member in kind.members]

    def suggest(self, name: str, extra: Iterable[str] = ()) -> tuple[str, str | None]:
        """Return help with the near name among everything visible, and that name."""
        known = ["true", "false", *(symbol for scope in self.scopes for symbol in scope), *extra]
        known += [member for kind in self.types.values() for member in kind.members]
        return did_you_mean(name, known)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Open a scope for the names of a block."""
        self.scopes.append({})
        try:
            yield
        finally:
            self.scopes.pop()

    @contextmanager
    def within(self, mode: Mode) -> Iterator[None]:
        """Check expressions that stand somewhere else."""
        before, self.mode = self.mode, mode
        try:
            yield
        finally:
            self.mode = before


def did_you_mean(name: str, known: Iterable[str]) -> tuple[str, str | None]:
    """Return "did you mean ...?" (or nothing) and the near name."""
    guess = near(name, known)
    return (f"did you mean `{guess}`?" if guess else ""), guess


def name_fix(span: Span, guess: str | None) -> Fix | None:
    """Return the fix that replaces a misspelt name."""
    return Fix(span, guess, f"write `{guess}`") if guess else None
