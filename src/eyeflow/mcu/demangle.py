"""Rust symbols as people write them: both manglings of rustc, so that `mcu size` names functions.

Sources: "rustc book", Symbol Mangling (v0 grammar, RFC 2603; legacy format). PyPI has no demangler for both that is
kept up, and a toolchain need not have one. A symbol that is neither, or is damaged, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

DEPTH_MAX, CHARACTERS_MAX = 100, 4_000
"""Back references can make a short symbol endless."""
_BASIC = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize", "j": "usize",
    "l": "i32", "m": "u32", "n": "i128", "o": "u128", "s": "i16", "t": "u16", "u": "()", "v": "...", "x": "i64",
    "y": "u64", "z": "!", "p": "_",
}  # fmt: skip
_LEGACY_WORDS = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
_LEGACY_HASH = re.compile(r"h[0-9a-f]{16}")
_ESCAPE = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$")


def demangle(symbol: str) -> str:
    """Return a Rust symbol without its mangling; any other symbol as it is."""
    try:
        if symbol.startswith("_R"):
            return _V0(symbol[2:].partition(".")[0]).symbol()
        return _legacy(symbol) if symbol.startswith("_ZN") else symbol
    except (ValueError, IndexError, RecursionError):
        return symbol


def _legacy(symbol: str) -> str:
    parts, at = [], 3
    while symbol[at] != "E":
        digits = re.compile(r"[0-9]+").match(symbol, at)
        if digits is None:
            raise ValueError(symbol)
        at = digits.end() + int(digits[0])
        parts.append(symbol[digits.end() : at])
    if parts and _LEGACY_HASH.fullmatch(parts[-1]):
        parts.pop()
    return "::".join(_legacy_part(part) for part in parts)


def _legacy_part(part: str) -> str:
    text = part[1:] if part.startswith("_$") else part
    return _ESCAPE.sub(_legacy_char, text).replace("..", "::")


def _legacy_char(found: re.Match[str]) -> str:
    return _LEGACY_WORDS.get(found[1]) or chr(int(found[1][1:], 16))


class _V0:
    """Reads one v0 symbol from left to right; raises ValueError or IndexError where it breaks the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._made = 0

    def symbol(self) -> str:
        """Return the path; the crate that instantiated it follows and is left out."""
        return self._path()

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, char: str) -> bool:
        found = self._text[self._at : self._at + 1] == char
        self._at += found
        return found

    def _base_62(self) -> int:
        if self._take("_"):
            return 0
        value = 0
        while (char := self._next()) != "_":
            value = value * 62 + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".index(char)
        return value + 1

    def _disambiguator(self) -> int:
        return self._base_62() + 1 if self._take("s") else 0

    def _name(self) -> str:
        is_unicode, start = self._take("u"), self._at
        while self._text[self._at : self._at + 1].isdecimal():
            self._at += 1
        length = int(self._text[start : self._at])
        self._take("_")
        name = self._text[self._at : self._at + length]
        if len(name) != length:
            raise ValueError(self._text)
        self._at += length
        if not is_unicode:
            return name
        plain, _, rest = name.rpartition("_")
        return f"{plain}-{rest}".encode().decode("punycode") if plain else rest.encode().decode("punycode")

    def _guard(self, text: str) -> str:
        self._made += len(text)
        if self._made > CHARACTERS_MAX:
            raise ValueError("too long")
        return text

    def _back(self, read: str) -> str:
        target, here = self._base_62(), self._at
        if target >= here - 1:
            raise ValueError("a reference forward")
        self._at = target
        text: str = getattr(self, read)()
        self._at = here
        return text

    def _path(self) -> str:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ValueError("too deep")
        try:
            return self._guard(self._path_of(self._next()))
        finally:
            self._depth -= 1

    def _path_of(self, tag: str) -> str:
        match tag:
            case "C":
                self._disambiguator()
                return self._name()
            case "M" | "X":
                self._disambiguator()
                self._path()
                kind = self._type()
                return f"<{kind}>" if tag == "M" else f"<{kind} as {self._path()}>"
            case "Y":
                kind = self._type()
                return f"<{kind} as {self._path()}>"
            case "N":
                return self._nested()
            case "I":
                path, args = self._path(), self._until_end(self._generic)
                return f"{path}<{', '.join(args)}>"
            case "B":
                return self._back("_path")
        raise ValueError(tag)

    def _nested(self) -> str:
        space, path = self._next(), self._path()
        number, name = self._disambiguator(), self._name()
        if not space.isupper():
            return f"{path}::{name}" if name else path
        word = {"C": "closure", "S": "shim"}.get(space, space)
        return f"{path}::{{{word}{':' if name else ''}{name}#{number}}}"

    def _until_end(self, read: Callable[[], str]) -> list[str]:
        found = []
        while not self._take("E"):
            found.append(read())
        return found

    def _generic(self) -> str:
        if self._take("L"):
            return f"'{self._base_62() or '_'}"
        return self._const() if self._take("K") else self._type()

    def _type(self) -> str:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ValueError("too deep")
        try:
            return self._guard(self._type_of(self._next()))
        finally:
            self._depth -= 1

    def _type_of(self, tag: str) -> str:
        match tag:
            case "A":
                element = self._type()
                return f"[{element}; {self._const()}]"
            case "S":
                return f"[{self._type()}]"
            case "T":
                parts = self._until_end(self._type)
                return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
            case "R" | "Q":
                if self._take("L"):
                    self._base_62()
                return f"&{'mut ' * (tag == 'Q')}{self._type()}"
            case "P" | "O":
                return f"*{'const' if tag == 'P' else 'mut'} {self._type()}"
            case "F":
                return self._function()
            case "D":
                return self._dyn()
            case "B":
                return self._back("_type")
        if tag in _BASIC:
            return _BASIC[tag]
        self._at -= 1
        return self._path()

    def _function(self) -> str:
        if self._take("G"):
            self._base_62()
        unsafe = "unsafe " if self._take("U") else ""
        abi = ""
        if self._take("K"):
            name = "C" if self._take("C") else self._name().replace("_", "-")
            abi = f'extern "{name}" '
        inputs = self._until_end(self._type)
        output = self._type()
        return f"{unsafe}{abi}fn({', '.join(inputs)}){'' if output == '()' else f' -> {output}'}"

    def _dyn(self) -> str:
        if self._take("G"):
            self._base_62()
        traits = self._until_end(self._dyn_trait)
        if self._take("L"):
            self._base_62()
        return f"dyn {' + '.join(traits)}"

    def _dyn_trait(self) -> str:
        path, bound = self._path(), []
        while self._take("p"):
            name = self._name()
            bound.append(f"{name} = {self._type()}")
        if not bound:
            return path
        return f"{path[:-1]}, {', '.join(bound)}>" if path.endswith(">") else f"{path}<{', '.join(bound)}>"

    def _const(self) -> str:
        tag = self._next()
        if tag == "p":
            return "_"
        if tag == "B":
            return self._back("_const")
        sign, start = "-" if self._take("n") else "", self._at
        while self._next() != "_":
            pass
        value = int(self._text[start : self._at - 1] or "0", 16)
        if tag == "b":
            return "true" if value else "false"
        return repr(chr(value)) if tag == "c" else f"{sign}{value}"
