"""What the system and each library raise in earnest becomes plain words: no number, no class name, no path twice."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
import serial

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import Unreadable
from eyeflow.base.reasons import QUOTED_CHARACTERS_MAX, internal, number_of, why

RAW = re.compile(r"Errno|errno|_ssl\.c|Error\b|Exception|int\(\)|object|\(\)|[{}<>]|\n|/")


def raised(action: Callable[[], Any]) -> BaseException:
    """Return what an action raises."""
    with pytest.raises(BaseException) as caught:
        action()
    return caught.value


def get(url: str) -> None:
    httpx.Client(trust_env=False, timeout=20).get(url)


async def aget(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        await client.get(url)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database(path: Path, sql: str) -> None:
    apsw.Connection(str(path)).execute(sql)


def test_the_system_is_told_without_number_and_path(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x"
    for error in (raised(lambda: path.read_text()), raised(lambda: path.open())):
        assert why(error) == "No such file or directory" and str(path) in str(error)
    assert why(PermissionError(errno.EACCES, "Permission denied", "/x")) == "Permission denied"
    assert why(OSError()) == why(OSError("odd")) == "the system refused it"
    assert why(raised(lambda: socket.getaddrinfo("no.such.invalid", 1))).startswith(
        ("this name is not", "the name cannot")
    )


def test_a_coordinator_that_is_not_there() -> None:
    url = f"http://127.0.0.1:{closed_port()}/"
    assert why(raised(lambda: get(url))) == "Connection refused"
    assert why(raised(lambda: asyncio.run(aget(url)))) == "Connection refused"
    assert why(raised(lambda: get("ftp://x/"))) == "the URL must begin with http:// or https://"
    assert why(raised(lambda: get("http://x:y/"))) == "the URL is malformed"
    assert why(httpx.ReadTimeout("")) == why(TimeoutError()) == why(httpx.PoolTimeout("x")) == "no answer in time"


def test_files_of_tls_and_of_databases(tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    path.write_text("nonsense")
    context = ssl.create_default_context()
    assert "PEM" in why(raised(lambda: context.load_verify_locations(path))) or "certificate" in why(
        raised(lambda: context.load_verify_locations(path))
    )
    assert "PEM" in why(raised(lambda: context.load_cert_chain(path)))
    path.write_bytes(b"x" * 4096)
    assert why(raised(lambda: database(path, "select * from sqlite_schema"))) == "the file is no database"
    assert why(raised(lambda: database(tmp_path / "no" / "x", "select 1"))) == "the file cannot be opened"


def test_serial_ports() -> None:
    assert why(raised(lambda: serial.Serial("/dev/ttyNone9"))) == "No such file or directory"
    assert why(serial.SerialException("read failed: [Errno 5] Input/output error")) == "Input/output error"
    assert why(serial.SerialException("device reports readiness to read but ...")) == (
        "the port failed, or the device went away"
    )
    assert why(termios.error(5, "Input/output error")) == "Input/output error"
    assert number_of(serial.SerialException("could not open port: [Errno 13] Permission denied")) == errno.EACCES
    assert number_of(ValueError("x")) == number_of(OSError()) == 0


def test_words_of_ours_stay() -> None:
    assert why(Unreadable("not JSON: a value is missing")) == "not JSON: a value is missing"
    assert why(EyeflowError("no room", cause="the disk is full.")) == "no room: the disk is full"


@pytest.mark.parametrize(
    "action",
    [
        lambda: int("9" * 5000),
        lambda: bytes.fromhex("xy"),
        lambda: {}["a"],
        lambda: b"\xff".decode(),
        lambda: Path("/none/x").stat(),
        lambda: __import__("no_such_module"),
        lambda: subprocess.run([sys.executable, "-c", "while True: pass"], timeout=0.01),
        lambda: get("http://[::1"),
        lambda: apsw.Connection(":memory:").execute("x"),
        lambda: ssl.create_default_context(cafile="/none"),
        lambda: exec("raise ExceptionGroup('x', [OSError(28, 'y')])"),
    ],
)
def test_nothing_of_the_language_is_told(action: Callable[[], Any]) -> None:
    error = raised(action)
    told = why(error)
    assert told and not RAW.search(told.replace("http://", "").replace("https://", "")), told
    assert len(told) <= QUOTED_CHARACTERS_MAX + 40


def test_a_cause_is_followed_and_not_for_ever() -> None:
    outer = RuntimeError("x")
    outer.__cause__ = OSError(errno.ENOSPC, "y")
    assert why(outer) == "No space left on device"
    loop = RuntimeError("a")
    loop.__context__ = ValueError("b")
    loop.__context__.__context__ = loop
    assert why(loop) == "it is malformed"


def test_a_bug_is_named_on_one_short_line() -> None:
    assert internal(ValueError("a\x1b[31m\nb")) == r"internal error: ValueError('a\x1b[31m\nb')"
    assert len(internal(ValueError("x" * 9999))) < QUOTED_CHARACTERS_MAX + 30
