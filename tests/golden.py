"""Golden files: text that a person has read and agreed to. `EYEFLOW_UPDATE_GOLDEN=1 pytest ...` writes them anew."""

from __future__ import annotations

import os
from difflib import unified_diff
from pathlib import Path


def check(path: Path, text: str) -> None:
    """Compare `text` with the golden file at `path`, or write the file in update mode, which CI refuses."""
    if os.environ.get("EYEFLOW_UPDATE_GOLDEN") == "1":
        if os.environ.get("CI"):
            raise AssertionError("golden files are never updated in CI: update them on your machine and commit them")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        return
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != expected:
        lines = unified_diff(expected.splitlines(), text.splitlines(), f"{path} (golden)", "now", lineterm="")
        hint = "read the difference; when it is right: EYEFLOW_UPDATE_GOLDEN=1 pytest ..."
        raise AssertionError("\n".join([f"{path.name} differs from its golden file; {hint}", *lines]))
