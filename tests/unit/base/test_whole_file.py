"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from eyeflow.base.whole_file import write_whole
from eyeflow.cli.files import write_bytes


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_it_replaces_with_its_own_permissions(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_whole(path, b"new", 0o600)
    assert (path.read_bytes(), mode_of(path), names_in(tmp_path)) == (b"new", 0o600, ["key"])


def test_what_exists_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_whole(path, b"old", 0o600, replace=False)
    with pytest.raises(FileExistsError):
        write_whole(path, b"new", 0o600, replace=False)
    assert (path.read_bytes(), names_in(tmp_path)) == (b"old", ["key"])


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "key"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new", 0o600)
    assert (path.read_bytes(), names_in(tmp_path)) == (b"old", ["key"])


def test_bytes_are_synced_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, seen = tmp_path / "key", os.fsync, []

    def fsync(handle: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        seen.append((kind, path.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"new", 0o600)
    assert seen == [("file", False), ("directory", True)]


def test_output_goes_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.is_symlink() and (target.read_bytes(), mode_of(target)) == (b"new", 0o640)


def test_output_goes_into_a_device_and_does_not_replace_it(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    write_bytes(link, b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_output_goes_into_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    write_bytes(Path(f"/dev/fd/{writer}"), b"new")
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"new"
