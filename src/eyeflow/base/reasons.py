"""Why something outside refused, in plain words: one way from the exceptions of the system and of libraries.

Their own texts are for programmers: numbers of errors, names of classes and C functions, a path twice. Whoever shows
an exception of others takes `why`, or `internal` when it is a bug of ours; `tests/architecture` finds who does not.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from eyeflow.base.errors import EyeflowError
from eyeflow.base.visible import visible

QUOTED_CHARACTERS_MAX = 200
CAUSES_MAX = 8
"""How far `why` follows the causes of an exception: httpx has the system's error three below its own."""
_OWN = "eyeflow."
_NUMBER = re.compile(r"(?:\[Errno |\()([0-9]+)(?:\]|, ')")
_NO_ANSWER = "no answer in time"
_UNKNOWN_NAME = "this name is not known in the network"
_NAMES = {-2: _UNKNOWN_NAME, -5: _UNKNOWN_NAME, -3: "the name cannot be looked up: is the network down?"}
"""Failures of getaddrinfo(3): EAI_NONAME, EAI_NODATA, EAI_AGAIN."""
_TLS = {
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "HTTP_REQUEST": "the other side speaks HTTP without TLS",
    "NO_START_LINE": "a file is not PEM",
    "PEM_LIB": "a file is not PEM, or its key needs a passphrase",
    "BAD_BASE64_DECODE": "a PEM file is damaged",
    "NO_CERTIFICATE_OR_CRL_FOUND": "a file holds no certificate in PEM",
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side asks for a certificate",
}
_CLOCKS = (
    "compare the clocks (it is {now} here); if both are right, start the coordinator again: it renews its certificate"
)
_OTHER_NAME = "make a certificate for this name, on the coordinator's machine: eyeflow coordinator init --name HOST"
_UNKNOWN_CA = (
    "the coordinator has another CA than was named: let a node join again with a new token, and give commands the CA "
    "with eyeflow coordinator login URL --fingerprint HEX"
)
_TLS_ADVICE = {9: _CLOCKS, 10: _CLOCKS, 62: _OTHER_NAME, 64: _OTHER_NAME}
"""By OpenSSL's X509_V_ERR_*: not yet valid, expired, another host name, another address."""
_REFUSED_CERTIFICATE = "the coordinator refused this node's certificate: the next attempt gets a new one"
_KINDS = {
    "httpx.RemoteProtocolError": "the other side does not answer in HTTP",
    "httpx.UnsupportedProtocol": "the URL must begin with http:// or https://",
    "httpx.InvalidURL": "the URL is malformed",
    "httpx.TooManyRedirects": "it redirects without end",
    "httpx.DecodingError": "the answer is damaged",
    "apsw.FullError": "the disk is full",
    "apsw.IOError": "the disk fails to read or write",
    "apsw.CorruptError": "the file is damaged",
    "apsw.NotADBError": "the file is no database",
    "apsw.SQLError": "its tables are not those that it must have",
    "apsw.ConstraintError": "a table holds what it must not hold",
    "apsw.MismatchError": "a table holds a value of another type",
    "apsw.ReadOnlyError": "it may only be read",
    "apsw.CantOpenError": "the file cannot be opened",
    "apsw.PermissionsError": "the file may not be used",
    "apsw.BusyError": "another process uses it",
    "apsw.LockedError": "another process uses it",
    "apsw.ConnectionClosedError": "its file is closed already",
    "websockets.InvalidHandshake": "the other side opens no WebSocket",
    "websockets.ConnectionClosed": "the connection broke",
    "elftools.ELFError": "it is no ELF file",
    "serial.SerialException": "the port failed, or the device went away",
    "builtins.EOFError": "it ends too early",
    "builtins.RecursionError": "it is nested too deeply",
    "builtins.UnicodeError": "it is no text in UTF-8",
    "builtins.ImportError": "a package of Python is not installed, or cannot be loaded",
    "builtins.MemoryError": "there is not enough memory",
    "builtins.ConnectionError": "the connection broke",
    "asyncio.IncompleteReadError": "it ends too early",
    "subprocess.TimeoutExpired": _NO_ANSWER,
}
"""Kinds of exceptions by their library and name; a kind stands for those that derive from it."""
_MALFORMED = "it is malformed"
_DATABASE_ENDED = "the database server ended the connection, or is gone"
_DATABASE = {
    "password authentication failed": "the database server refuses this user or password",
    "no password supplied": "the database server asks for a password",
    "no pg_hba.conf entry": "the database server lets this user not in from here",
    "too many clients": "the database server has no connection left",
    "connection slots are reserved": "the database server has no connection left",
    "Connection refused": "no database server listens at this address",
    "No such file or directory": "no database server listens at this address",
    "could not translate host name": _UNKNOWN_NAME,
    "timeout expired": _NO_ANSWER,
    "lock timeout": "another coordinator writes for too long",
    "statement timeout": "the database server took too long",
    "idle-in-transaction": "this coordinator stood still for too long",
    "No space left": "the disk of the database server is full",
    "read-only": "the database server takes no changes: it is a standby, or set to read-only",
    "permission denied": "this user may not do that in the database",
    "starting up": "the database server has not started yet",
    "terminating connection": _DATABASE_ENDED,
    "shutting down": _DATABASE_ENDED,
    "server closed the connection": _DATABASE_ENDED,
    "connection is closed": _DATABASE_ENDED,
    "could not receive data": _DATABASE_ENDED,
    "could not send data": _DATABASE_ENDED,
    "does not exist": "this database, this user or a table is not there",
}
"""Parts of what a PostgreSQL server and its library say, in the order in which they are looked for."""


def why(error: BaseException) -> str:
    """Return the reason of a failure as a part of a sentence: never empty, on one line, without a path."""
    for one in _chain(error):
        if words := _words(one):
            return words
    kind = type(error)
    if kind.__module__ == "builtins":
        return "the system refused it" if isinstance(error, OSError) else _MALFORMED
    said = f' says "{visible(str(error))[:QUOTED_CHARACTERS_MAX]}"' if str(error) else ""
    return f"{kind.__module__.partition('.')[0]}{said or f' failed ({kind.__name__})'}"


def tls_advice(error: BaseException) -> str:
    """Return what to do about a certificate that was not taken, empty when the failure is none of those."""
    for one in _chain(error):
        kinds = {kind.__name__ for kind in type(one).__mro__}
        if "SSLCertVerificationError" in kinds:
            advice = _TLS_ADVICE.get(getattr(one, "verify_code", 0), _UNKNOWN_CA)
            return advice.format(now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
        if "SSLError" in kinds and "_ALERT_" in str(getattr(one, "reason", "")):
            return _REFUSED_CERTIFICATE
    return ""


def internal(error: BaseException) -> str:
    """Return what is shown of a bug of ours that the process survives: its kind and text, to be reported."""
    return f"internal error: {visible(repr(error))[:QUOTED_CHARACTERS_MAX]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it came from; of several at once the first."""
    current: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if current is None:
            return
        yield current
        inner = current.exceptions[0] if isinstance(current, BaseExceptionGroup) else None
        current = inner or current.__cause__ or current.__context__


def _words(error: BaseException) -> str:
    """Return our words for an exception alone, empty when there are none."""
    if isinstance(error, EyeflowError):
        return error.brief
    if type(error).__module__.startswith(_OWN):
        return str(error)
    kinds = [f"{kind.__module__.partition('.')[0].lstrip('_')}.{kind.__name__}" for kind in type(error).__mro__]
    if "ssl.SSLError" in kinds:
        return _of_tls(error)
    if "socket.gaierror" in kinds:
        return _NAMES.get(getattr(error, "errno", 0), _UNKNOWN_NAME)
    if "psycopg.Error" in kinds:
        return next((words for part, words in _DATABASE.items() if part in str(error)), "")
    if number := number_of(error):
        return os.strerror(number)
    if any(kind.endswith(("Timeout", "TimeoutError", "TimeoutException")) for kind in kinds):
        return _NO_ANSWER
    return next((_KINDS[kind] for kind in kinds if kind in _KINDS), "")


def _of_tls(error: BaseException) -> str:
    if said := getattr(error, "verify_message", ""):
        return f"the certificate is not trusted: {visible(said)}"
    reason = getattr(error, "reason", None) or "PEM_LIB"
    return _TLS.get(reason, f"TLS failed: {reason.lower().replace('_', ' ')}")


def number_of(error: BaseException) -> int:
    """Return the system's number of an error (`errno.EACCES`), 0 for none. Some have it only in their text."""
    number = error.args[0] if type(error).__module__ == "termios" else getattr(error, "errno", None)
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found[1])
    return number if isinstance(number, int) and number in errno.errorcode else 0


def code_of_close(error: Exception) -> str:
    """Return the code before the colon in the reason with which a peer closed a WebSocket; empty for none."""
    return str(getattr(error, "reason", None) or "").partition(":")[0]
