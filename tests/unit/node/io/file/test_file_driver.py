"""`file.append`: durable lines, and nothing outside the allowed directories."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from eyeflow.node.io.file.driver import FileDriver
from eyeflow.node.io.file.settings import FileConfig
from eyeflow.svm.execution import CapabilityFailure


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "secret.txt").write_text("secret\n")
    return tmp_path / "allowed"


def append(directory: Path, path: str, line: str = "x") -> FileDriver:
    driver = FileDriver(FileConfig((directory,)))
    asyncio.run(driver.act("file.append", {"path": path, "line": line}))
    return driver


def test_lines_are_appended_below_the_directory(allowed: Path) -> None:
    append(allowed, "log.txt", "one")
    append(allowed, str(allowed / "log.txt"), "zwei ü")
    driver = append(allowed, "log.txt", "a\nb\rc")
    assert (allowed / "log.txt").read_text() == "one\nzwei ü\na\\nb\\rc\n", "one action is one line"
    assert driver.status.counters["actions"] == 1


def test_a_new_line_is_on_disk_before_the_action_is_done(allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_write, real_fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda fd, data: (order.append("write"), real_write(fd, data))[1])
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), real_fsync(fd))[1])
    append(allowed, "log.txt")
    assert order == ["write", "fsync", "fsync"], "the line, then the new name in its directory"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "a/../../secret.txt", "/etc/passwd", "", ".", "a\0b", "link/secret.txt", "direct"]
)
def test_paths_that_lead_out_are_refused(allowed: Path, path: str) -> None:
    (allowed / "link").symlink_to(allowed.parent)
    (allowed / "direct").symlink_to(allowed.parent / "secret.txt")
    with pytest.raises(CapabilityFailure):
        append(allowed, path)
    assert (allowed.parent / "secret.txt").read_text() == "secret\n"


def test_no_directory_means_no_files(tmp_path: Path) -> None:
    driver = FileDriver(FileConfig())
    with pytest.raises(CapabilityFailure, match="no directory is allowed"):
        asyncio.run(driver.act("file.append", {"path": str(tmp_path / "x"), "line": "y"}))


def test_a_full_disk_and_a_missing_directory_are_failures(allowed: Path) -> None:
    with pytest.raises(CapabilityFailure, match="No such file"):
        append(allowed, "absent/log.txt")
    driver = FileDriver(FileConfig((Path("/dev"),)))
    with pytest.raises(CapabilityFailure, match="No space left"):
        asyncio.run(driver.act("file.append", {"path": "/dev/full", "line": "y"}))


@pytest.mark.parametrize("path", ["a\nb", "a\x1b[31m", "a\0b"])
def test_control_characters_are_no_path_and_reach_no_terminal(allowed: Path, path: str) -> None:
    with pytest.raises(CapabilityFailure, match="is no path") as failure:
        append(allowed, path)
    assert str(failure.value).isprintable() and list(allowed.iterdir()) == []
