"""Reads the TOML of a catalog strictly: a mistake is an EyeflowError that names the line, the entry and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.compiler import types
from eyeflow.svm.addresses import FORMS
from eyeflow.svm.program import Direction, Profile, Type, TypeTag, Value

Raw = Mapping[str, object]

_KEYS = {
    "enum": ("name", "members", "doc"),
    "capability": (
        "name", "kind", "args", "result", "profiles", "unavailable", "delegable", "resource", "level", "cost", "doc",
    ),
    "argument": ("name", "type", "default"),
    "source": ("name", "address", "form", "example", "period", "fields", "injected", "profiles", "unavailable", "doc"),
}  # fmt: skip
_NAMES = {
    "enum": re.compile(r"[A-Z][A-Za-z0-9_]*"),
    "capability": re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*"),
    "source": re.compile(r"[a-z][a-z0-9_]*"),
}
_PLAIN = {
    "bool": types.BOOL,
    "int": types.INT,
    "float": types.FLOAT,
    "duration": types.DURATION,
    "pin.input": types.pin(Direction.INPUT),
    "pin.output": types.pin(Direction.OUTPUT),
}
_PROFILES = {"linux": Profile.LINUX, "mcu": Profile.MCU}
_PYTHON: dict[TypeTag, type] = {
    TypeTag.BOOL: bool, TypeTag.INT: int, TypeTag.FLOAT: float, TypeTag.TEXT: str, TypeTag.ENUM: str
}  # fmt: skip


class CatalogReader:
    """One TOML text of a catalog, parsed into `data`; `known_enums` are those of the catalog it extends."""

    def __init__(self, text: str, origin: str, data: Raw, known_enums: dict[str, Type]) -> None:
        self._lines = text.splitlines()
        self._origin = origin
        self._data = data
        self._enums = known_enums
        for key in data:
            if key not in ("enum", "capability", "source"):
                self._fail(f"`{key}` is no part of a catalog", "write [[capability]], [[enum]] or [[source]]", key)

    def _line(self, word: str) -> int:
        found = (number for number, line in enumerate(self._lines, 1) if re.search(rf"\b{re.escape(word)}\b", line))
        return next(found, 1)

    def _fail(self, problem: str, expected: str, word: str) -> NoReturn:
        raise EyeflowError(
            f"{self._origin}, line {self._line(word)}: {problem}",
            next_step=expected,
            code="catalog_invalid",
            exit_code=ExitCode.PROBLEMS,
        )

    def _wrong(self, raw: Raw, problem: str, expected: str) -> NoReturn:
        name = raw.get("name")
        self._fail(f"`{name}`: {problem}", expected, name if isinstance(name, str) else "name")

    def entries(self, group: str) -> dict[str, Raw]:
        """Return the tables of a group by their names."""
        found: dict[str, Raw] = {}
        listed = self._data.get(group, [])
        if not isinstance(listed, list):
            self._fail(f"`{group}` is not a list of tables", f"write [[{group}]]", group)
        for raw in listed:
            name = self.text(raw, "name")
            if not _NAMES[group].fullmatch(name):
                self._wrong(raw, f"this is no name for a {group}", f"a name like {_EXAMPLES[group]}")
            if name in found:
                self._wrong(raw, "it stands here twice", "remove one")
            found[name] = raw
        return found

    def enums(self) -> tuple[dict[str, Type], dict[str, str]]:
        """Return the declared enums and their descriptions."""
        found, docs = {}, {}
        for name, raw in self.entries("enum").items():
            self.check_keys("enum", raw)
            members = raw.get("members")
            if not isinstance(members, list) or not members or not all(isinstance(one, str) for one in members):
                self._wrong(raw, "`members` is missing or no list of names", 'members = ["LOW", "HIGH"]')
            self.unique_names(raw, members)
            found[name], docs[name] = types.enum(name, tuple(members)), self.text(raw, "doc")
        self._enums.update(found)
        return found, docs

    def refuse_known(self, group: str, added: Iterable[str], known: Iterable[str]) -> None:
        """Refuse to declare a known name again."""
        for name in added:
            if name in set(known):
                self._fail(f"the {group} `{name}` exists already", "choose another name", name)

    def check_keys(self, group: str, raw: Raw, owner: Raw | None = None) -> None:
        """Refuse keys that mean nothing."""
        for key in raw:
            if key not in _KEYS[group]:
                guess = near(key, _KEYS[group])
                hint = f"did you mean `{guess}`?" if guess else "known keys: " + ", ".join(_KEYS[group])
                self._wrong(owner or raw, f"unknown key `{key}`", hint)

    def text(self, raw: Raw, key: str, owner: Raw | None = None) -> str:
        """Return a text that must be there."""
        value = raw.get(key)
        if not isinstance(value, str) or not value:
            self._wrong(owner or raw, f"`{key}` is missing or not a text", f'write {key} = "..."')
        return value

    def optional_text(self, raw: Raw, key: str) -> str:
        """Return a text, empty when it is not there."""
        return self.text(raw, key) if key in raw else ""

    def address_form(self, raw: Raw) -> str:
        """Return the form of a source's addresses: a name of FORMS, or a pattern with an example that fits it."""
        form = self.optional_text(raw, "form")
        if not form or form in FORMS:
            return form
        try:
            fits = re.fullmatch(form, self.text(raw, "example"))
        except re.error:
            self._wrong(raw, "`form` is no regular expression", "one of " + ", ".join(FORMS) + ", or a pattern")
        if fits is None:
            self._wrong(raw, "`example` does not fit `form`", "an address that does")
        return form

    def choice(self, raw: Raw, key: str, allowed: Sequence[str], default: str = "") -> str:
        """Return one of the allowed words."""
        value = raw.get(key, default or None)
        if not isinstance(value, str) or value not in allowed:
            self._wrong(raw, f"`{key}` is {value!r}", "one of " + ", ".join(allowed))
        return value

    def flag(self, raw: Raw, key: str) -> bool:
        """Return a bool, false when it is not there."""
        value = raw.get(key, False)
        if not isinstance(value, bool):
            self._wrong(raw, f"`{key}` is not a bool", f"write {key} = true")
        return value

    def number(self, raw: Raw, key: str, default: int) -> int:
        """Return an int from 0 to 65,535."""
        value = raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
            self._wrong(raw, f"`{key}` is not a number from 0 to 65535", f"write {key} = {default}")
        return value

    def tables(self, raw: Raw, key: str) -> list[Raw]:
        """Return a list of tables, empty when it is not there."""
        value = raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._wrong(
                raw, f"`{key}` is not a list of tables", f'write {key} = [{{ name = "channel", type = "int" }}]'
            )
        return value

    def mapping(self, raw: Raw, key: str) -> dict[str, str]:
        """Return a table of texts, empty when it is not there."""
        value = raw.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            self._wrong(raw, f"`{key}` is not a table of texts", f'write {key} = {{ name = "..." }}')
        return value

    def unique_names(self, raw: Raw, names: Sequence[str]) -> None:
        """Refuse a name that stands twice."""
        for name in names:
            if names.count(name) > 1:
                self._wrong(raw, f"`{name}` stands here twice", "remove one")

    def profiles(self, raw: Raw) -> frozenset[Profile]:
        """Return the profiles an entry is available on."""
        value = raw.get("profiles")
        if not isinstance(value, list) or not value or not all(one in _PROFILES for one in value):
            self._wrong(raw, "`profiles` is missing or names an unknown profile", 'profiles = ["linux", "mcu"]')
        return frozenset(_PROFILES[one] for one in value)

    def unavailable(self, raw: Raw) -> dict[Profile, str]:
        """Return the reasons why an entry is missing on a profile."""
        value = self.mapping(raw, "unavailable")
        if not all(one in _PROFILES for one in value):
            self._wrong(raw, "`unavailable` names an unknown profile", 'unavailable = { mcu = "because ..." }')
        return {_PROFILES[name]: reason for name, reason in value.items()}

    def type(self, written: str, owner: Raw) -> Type:
        """Return a type by its name."""
        known = {**_PLAIN, **self._enums}
        if written in known:
            return known[written]
        sized = re.fullmatch(r"text\((\d+)\)", written)
        if sized and 1 <= int(sized[1]) <= types.TEXT_BYTES_MAX[Profile.LINUX]:
            return types.text(int(sized[1]))
        guess = near(written, known)
        hint = f"did you mean `{guess}`?" if guess else "one of " + ", ".join([*known, "text(1..4096)"])
        return self._wrong(owner, f"`{written}` is no type", hint)

    def result(self, raw: Raw, roles: Mapping[str, str], *, wanted: bool) -> tuple[Type | None, str]:
        """Return the result type, or the name of the argument that decides it."""
        if not wanted:
            if "result" in raw:
                self._wrong(raw, "an action has no result", 'remove `result`, or write kind = "read"')
            return None, ""
        written = self.text(raw, "result")
        if roles.get(written) == "enum":
            return None, written
        sized = re.fullmatch(r"text\(([a-z]\w*)\)", written)
        if sized and roles.get(sized[1]) == "size":
            return None, sized[1]
        return self.type(written, raw), ""

    def resource(self, raw: Raw, names: Sequence[str]) -> str:
        """Return the resource key template; its holes must be arguments."""
        value = raw.get("resource", "")
        if not isinstance(value, str):
            self._wrong(raw, "`resource` is not a text", 'write resource = "gpio/{pin}"')
        for hole in re.findall(r"\{(.*?)\}", value):
            if hole not in names:
                self._wrong(raw, f"`resource` names the unknown argument `{hole}`", "one of " + ", ".join(names))
        return value

    def default(self, raw: Raw, kind: Type, owner: Raw) -> tuple[Value | None, str]:
        """Return the default of an argument as a slot value and as text."""
        if "default" not in raw:
            return None, ""
        value, expected = raw["default"], _PYTHON.get(kind.tag)
        if expected is None or type(value) is not expected:
            self._wrong(owner, f"the default {value!r} is no {types.show(kind)}", "a default of the argument's type")
        if kind.tag is TypeTag.ENUM:
            if value not in kind.members:
                self._wrong(owner, f"`{value}` is no member of {kind.name}", "one of " + ", ".join(kind.members))
            return kind.members.index(str(value)), str(value)
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        return value, shown  # type: ignore[return-value]


_EXAMPLES = {"enum": "`Mode`", "capability": "`valve.open`", "source": "`opcua`"}
