"""From text of any origin to numbers, JSON and TOML: one rule for all of it, and reasons in plain words.

The rule: a number is finite or refused, for NaN and infinity pass or fail every `> limit` in silence (RFC 8259,
section 6, has neither). A whole number is exact or refused. Errors never repeat the words of Python.
"""

from __future__ import annotations

import os
import re
import stat
from functools import cache
from math import isfinite
from typing import IO, TYPE_CHECKING, Any

from eyeflow.base.errors import ExitCode
from eyeflow.base.visible import visible

if TYPE_CHECKING:  # what reads nothing must not load these: `eyeflow check` starts in a tenth of a second
    from json import JSONDecoder
    from pathlib import Path

TEXT_BYTES_MAX = 16 * 1024 * 1024
"""Most bytes of a file that is read whole: above every such file of ours, and far below the memory of a small node."""
EXACT_BELOW = 2**53
"""A float from here on may stand for a neighbouring whole number (IEEE 754 binary64)."""
SHOWN_CHARACTERS_MAX = 40
_INT_DIGITS_MAX = 400
"""More than any whole number that a float can hold, and few enough to be converted at once."""
_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_JSON_WORDS = {
    "Expecting value": "a value is missing",
    "Extra data": "more text follows the value",
    "Expecting property name enclosed in double quotes": "a name in double quotes is missing",
    "Illegal trailing comma before end of object": "a comma stands before the end of an object",
    "Illegal trailing comma before end of array": "a comma stands before the end of a list",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting ',' delimiter": "a comma is missing",
    "Unterminated string starting at": "a text has no end",
    "Invalid control character at": "a text holds a control character",
    "Invalid \\escape": "a text holds an unknown escape",
    "Invalid \\uXXXX escape": "a text holds a broken \\u escape",
}
"""The words of Python's json module, and ours; a test makes each of them."""


class Unreadable(ValueError):  # noqa: N818 - it is an answer about a text
    """A text is not what it should be; `str` is the reason, for people."""


class TooLarge(Unreadable):
    """A file has more bytes than any of its kind, or no end, as `/dev/zero`."""


def parse_int(text: str) -> int:
    """Return a whole number in decimal digits; raises Unreadable."""
    stripped = text.strip()
    if not _INT.fullmatch(stripped):
        raise Unreadable(f"{_shown(text)} is no whole number")
    if len(stripped) > _INT_DIGITS_MAX:
        raise Unreadable(f"the number {_shown(text)} has {len(stripped)} digits")
    return int(stripped)


def parse_float(text: str) -> float:
    """Return a finite number; raises Unreadable, also for what is beyond the largest float."""
    stripped = text.strip()
    if not _FLOAT.fullmatch(stripped):
        raise Unreadable(f"{_shown(text)} is no number")
    value = float(stripped)
    if not isfinite(value):
        raise Unreadable(f"the number {_shown(text)} does not fit a float")
    return value


def _no_constant(name: str) -> float:
    raise Unreadable(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise Unreadable(f"the number {_shown(text)} does not fit a float")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Unreadable("an object has a name twice")
    return made


@cache
def _decoder(unique_names: bool) -> JSONDecoder:
    from json import JSONDecoder

    hook = _unique if unique_names else None
    return JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=hook)


def parse_json(data: str | bytes, *, unique_names: bool = False) -> Any:
    """Return the value of a JSON text (RFC 8259); raises Unreadable with the place."""
    text = decode_utf8(data) if isinstance(data, bytes) else data
    from json import JSONDecodeError

    try:
        return _decoder(unique_names).decode(text)
    except Unreadable as error:
        raise Unreadable(f"not JSON: {error}") from None
    except JSONDecodeError as error:
        words = _JSON_WORDS.get(error.msg, "it is malformed")
        raise Unreadable(f"not JSON: {words}, {_place(text, error.pos)}") from None
    except RecursionError:
        raise Unreadable("not JSON: nested too deeply") from None
    except ValueError:  # what int() says of more than 4300 digits, in words for programmers
        raise Unreadable("not JSON: a number has too many digits") from None


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    return f"at character {column}" if "\n" not in text.strip() else f"at line {line}, character {column}"


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text; raises Unreadable with the line. `inf` and `nan` are refused."""
    import tomllib

    try:
        return tomllib.loads(text, parse_float=_toml_float)
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(visible(str(error))) from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except Unreadable:
        raise
    except ValueError:  # what int() says of too many digits, and datetime of a 30 February
        raise Unreadable("a number has too many digits, or a date is none of the calendar") from None


def _toml_float(text: str) -> float:
    return parse_float(text.replace("_", ""))


def decode_utf8(data: bytes) -> str:
    """Return the text of bytes in UTF-8, without the mark that some editors put first; raises Unreadable."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None


def read_bytes(path: Path, size_bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """Return the bytes of a file, also of a pipe, whose writer is waited for. Raises OSError, and TooLarge."""
    with path.open("rb") as file:
        return read_stream(file, size_bytes_max)


def read_text(path: Path, size_bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return the text of a file, as `read_bytes`. Raises OSError, and Unreadable, also for what is not UTF-8."""
    return decode_utf8(read_bytes(path, size_bytes_max))


def read_at_once(path: Path, size_bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """Return the bytes of a regular file: for a running daemon, which must wait for no pipe and no device.

    Raises OSError, and Unreadable for what is no regular file or too large.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Unreadable("it is no regular file")
        return read_stream(file, size_bytes_max)


def read_stream(file: IO[bytes], size_bytes_max: int) -> bytes:
    """Return what is left in a stream. Raises TooLarge."""
    data = file.read(size_bytes_max + 1)
    if len(data) > size_bytes_max:
        raise TooLarge(f"it has more than {size_bytes_max} bytes")
    return data


def exit_code(error: OSError | Unreadable) -> ExitCode:
    """Return the exit code of a command that could not read a file: a wrong text is the user's, the rest the system's.

    ENVIRONMENT: it is missing, forbidden, a directory, a device, or endless. PROBLEMS: what is in it is wrong.
    """
    is_content = isinstance(error, Unreadable) and not isinstance(error, TooLarge)
    return ExitCode.PROBLEMS if is_content else ExitCode.ENVIRONMENT


def _shown(text: str) -> str:
    return repr(text) if len(text) <= SHOWN_CHARACTERS_MAX else repr(text[:SHOWN_CHARACTERS_MAX]) + "..."
