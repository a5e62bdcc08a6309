"""Files of ours that hold anything but what we wrote: one clear line, no traceback, no endless read."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Command

ODD = {
    "empty": b"", "nothing": b"null", "a number": b"5", "a list": b"[]", "deep": b"[" * 100_000, "digits": b"9" * 5000,
    "wrong types": b'{"version": "x", "digest": 5, "url": 1, "signers": {}, "coordinatorKey": [], "caFile": 1}',
    "infinite": b'{"version": 1e400}', "bytes": bytes(range(256)), "not json": b"{oops",
}  # fmt: skip
PYTHON_WORDS = (
    "Traceback",
    "bug in eyeflow",
    "set_int_max_str_digits",
    "codec can't",
    "Expecting",
    "Errno",
    "TypeError",
    "ValueError",
)


def no_python(text: str) -> bool:
    return not any(word in text for word in PYTHON_WORDS)


@pytest.mark.parametrize("name", ODD)
def test_membership_of_a_node(eyeflow: Command, tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    for file in ("cluster.json", "manifest.json"):
        (data / file).write_bytes(ODD[name])
        (data / file).chmod(0o600)
    ran = eyeflow("node", "join", "http://127.0.0.1:9", "--token", "t", "--node-name", "n", "--node-data-dir", data)
    assert ran.code in (1, 3) and no_python(ran.err) and ran.err.startswith("error: "), ran.err


@pytest.mark.parametrize(
    "arguments",
    [("node", "status", "--config"), ("mcu", "build", "--board"), ("check", "lamp.eye", "--catalog")],
    ids=" ".join,
)
@pytest.mark.parametrize("content", ["/dev/zero", *ODD])
def test_files_that_are_named(
    eyeflow: Command, rule: Path, tmp_path: Path, arguments: tuple[str, ...], content: str
) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(ODD.get(content, b""))
    ran = eyeflow(*arguments, "/dev/zero" if content == "/dev/zero" else path)
    assert ran.code in (0, 1, 2, 3) and no_python(ran.err), ran.err
    assert ran.code == 0 or "error" in ran.err


@pytest.mark.parametrize("content", ODD)
def test_profile_and_trust_store_of_a_user(eyeflow: Command, home: Path, content: str) -> None:
    folder = home / ".config" / "eyeflow"
    (folder / "keys").mkdir(parents=True, mode=0o700)
    for path in (folder / "client.toml", folder / "keys" / "trusted.toml"):
        path.write_bytes(ODD[content])
        path.chmod(0o600)
    for command in (("status",), ("keys", "list")):
        ran = eyeflow(*command)
        assert ran.code in (0, 1, 3) and no_python(ran.err), ran.err


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "9" * 5000, "1_0", "٣", ""])
@pytest.mark.parametrize("name", ["EYEFLOW_OFFLINE_MAX_BUFFER_AGE_HOURS", "EYEFLOW_OFFLINE_MAX_BUFFER_SIZE_MB"])
def test_settings_from_the_environment(eyeflow: Command, tmp_path: Path, name: str, value: str) -> None:
    ran = eyeflow("node", "status", "--node-name", "n", "--node-data-dir", tmp_path, env={name: value})
    assert ran.code == 2 and name in ran.err and no_python(ran.err), ran.err
