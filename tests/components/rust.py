"""Host programs of the Rust crates in `embassy/`, built where cargo is told to build, and found there."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EMBASSY = ROOT / "embassy"
BUILD = ROOT / "build"
"""What tests compile, kept beyond a run; `make clean` removes it."""

COPIED = ("Cargo.toml", "Cargo.lock", "ed25519", "link", "slots", "state", "svm")


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Keep other processes that run tests out of a place until the block ends."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def rust_example(package: str, name: str) -> Path:
    """Return an example of a crate as a program of this machine; cargo itself says where it put it."""
    return _built(EMBASSY, package, name)


def damaged_example(package: str, name: str, file: str, old: str, new: str) -> Path:
    """Return an example of a crate that was built with one change, in a copy of the crates.

    There is one copy for all changes: each time cargo compiles what the change reaches, and nothing else.
    """
    place = BUILD / "damaged"
    with alone(place):
        for path in _sources():
            text = path.read_text("utf-8")
            if path == EMBASSY / file:
                assert text.count(old) == 1
                text = text.replace(old, new)
            _write(place / path.relative_to(EMBASSY), text)
        found = _built(place, package, name, "--target-dir", str(place / "target"))
        kept = place / f"{name}-{sha256((file + new).encode()).hexdigest()[:16]}"
        shutil.copy2(found, kept)
    return kept


def _sources() -> Iterator[Path]:
    for name in COPIED:
        path = EMBASSY / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.suffix in (".rs", ".toml", ".lock", ".txt") and "fuzz" not in one.parts)


def _write(path: Path, text: str) -> None:
    """Write a file that has changed: cargo compiles what is newer than its output."""
    if not path.is_file() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def _built(workspace: Path, package: str, name: str, *options: str) -> Path:
    command = ("cargo", "build", "--locked", "-p", package, "--example", name, "--message-format", "json", *options)
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == name]
    return Path(found)
