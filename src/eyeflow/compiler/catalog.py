"""The catalog: typed signatures of everything a rule may ask of the world.

`catalog/builtin.toml` is built in; `Catalog.with_toml` adds a user's own. The compiler reads no files itself: the text
of a catalog comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from enum import Enum
from functools import cache

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, parse_toml
from eyeflow.base.record import dataclass
from eyeflow.compiler.catalog_builtin import CATALOG
from eyeflow.compiler.catalog_reader import CatalogReader
from eyeflow.svm.program import Profile, SiteKind, Type, Value


class ArgRole(Enum):
    """What an argument is: a value handed over, or something the compiler needs to know to type the result."""

    VALUE = "value"
    ENUM_TYPE = "enum"
    TEXT_SIZE = "size"


@dataclass(frozen=True, slots=True)
class CapabilityArg:
    """One argument of a capability; `type` is None unless the role is VALUE."""

    name: str
    role: ArgRole
    type: Type | None = None
    default: Value | None = None
    default_text: str = ""


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability. `result` is None for an action; `result_of` names the argument that decides the result's type."""

    name: str
    kind: SiteKind
    args: tuple[CapabilityArg, ...]
    result: Type | None
    result_of: str
    profiles: frozenset[Profile]
    unavailable: Mapping[Profile, str]
    delegable: bool
    resource: str
    level: bool
    cost: int
    doc: str


class Need(Enum):
    """Whether a source wants something."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class EventSource:
    """One kind of event source. With `fields` a payload has only those; `injected` fields are filled by the source.

    `form` and `example` say what an address looks like: `svm.addresses.address_problem`.
    """

    name: str
    address: Need
    form: str
    example: str
    period: Need
    fields: tuple[tuple[str, Type], ...] | None
    injected: Mapping[str, str]
    profiles: frozenset[Profile]
    unavailable: Mapping[Profile, str]
    doc: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """All known capabilities, event sources and enums, by name."""

    enums: Mapping[str, Type] = field(default_factory=dict)
    enum_docs: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    sources: Mapping[str, EventSource] = field(default_factory=dict)

    @staticmethod
    def builtin() -> Catalog:
        """Return the catalog of what eyeflow serves itself."""
        return _builtin()

    def with_toml(self, text: str, *, name: str = "the catalog") -> Catalog:
        """Return this catalog with the entries of a TOML text added.

        Raises EyeflowError, with the line and what was expected, when the text is no catalog or names a known entry.
        """

        try:
            data = parse_toml(text)
        except Unreadable as error:
            raise EyeflowError(
                f"{name} is not TOML: {error}",
                next_step="mend the line named above",
                code="catalog_invalid",
                exit_code=ExitCode.PROBLEMS,
            ) from error
        return _merge(self, CatalogReader(text, name, data, dict(self.enums)))

    def near(self, name: str) -> str | None:
        """Return the capability most like `name`, also when only its namespace or its last part is wrong."""
        found = near(name, self.capabilities)
        by_last = {known.rpartition(".")[2]: known for known in self.capabilities}
        last = near(name.rpartition(".")[2], by_last)
        return found or (by_last[last] if last else None)


@cache
def _builtin() -> Catalog:
    return _merge(Catalog(), CatalogReader("", "the built-in catalog", CATALOG, {}))


def _merge(base: Catalog, reader: CatalogReader) -> Catalog:
    enums, docs = reader.enums()
    reader.refuse_known("enum", enums, base.enums)
    capabilities = {name: _capability(reader, raw) for name, raw in reader.entries("capability").items()}
    reader.refuse_known("capability", capabilities, base.capabilities)
    sources = {name: _source(reader, raw) for name, raw in reader.entries("source").items()}
    reader.refuse_known("source", sources, base.sources)
    return replace(
        base,
        enums={**base.enums, **enums},
        enum_docs={**base.enum_docs, **docs},
        capabilities={**base.capabilities, **capabilities},
        sources={**base.sources, **sources},
    )


_KINDS = {"read": SiteKind.READ, "act": SiteKind.ACT, "llm": SiteKind.LLM}


def _capability(reader: CatalogReader, raw: Mapping[str, object]) -> Capability:
    reader.check_keys("capability", raw)
    kind = _KINDS[reader.choice(raw, "kind", tuple(_KINDS))]
    args = tuple(_arg(reader, raw, arg) for arg in reader.tables(raw, "args"))
    reader.unique_names(raw, [arg.name for arg in args])
    result, result_of = reader.result(raw, {arg.name: arg.role.value for arg in args}, wanted=kind is not SiteKind.ACT)
    return Capability(
        name=reader.text(raw, "name"),
        kind=kind,
        args=args,
        result=result,
        result_of=result_of,
        profiles=reader.profiles(raw),
        unavailable=reader.unavailable(raw),
        delegable=reader.flag(raw, "delegable"),
        resource=reader.resource(raw, [arg.name for arg in args]),
        level=reader.flag(raw, "level"),
        cost=reader.number(raw, "cost", 10),
        doc=reader.text(raw, "doc"),
    )


def _arg(reader: CatalogReader, owner: Mapping[str, object], raw: Mapping[str, object]) -> CapabilityArg:
    reader.check_keys("argument", raw, owner)
    name, kind = reader.text(raw, "name", owner), reader.text(raw, "type", owner)
    if kind in ("enum", "size"):
        return CapabilityArg(name, ArgRole(kind))
    arg_type = reader.type(kind, owner)
    default, shown = reader.default(raw, arg_type, owner)
    return CapabilityArg(name, ArgRole.VALUE, arg_type, default, shown)


def _source(reader: CatalogReader, raw: Mapping[str, object]) -> EventSource:
    reader.check_keys("source", raw)
    needs = tuple(need.value for need in Need)
    fields = reader.mapping(raw, "fields")
    return EventSource(
        name=reader.text(raw, "name"),
        address=Need(reader.choice(raw, "address", needs)),
        form=reader.address_form(raw),
        example=reader.optional_text(raw, "example"),
        period=Need(reader.choice(raw, "period", needs, "none")),
        fields=tuple((name, reader.type(kind, raw)) for name, kind in fields.items()) if fields else None,
        injected=reader.mapping(raw, "injected"),
        profiles=reader.profiles(raw),
        unavailable=reader.unavailable(raw),
        doc=reader.text(raw, "doc"),
    )
