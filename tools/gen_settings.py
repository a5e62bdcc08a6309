"""Writes docs/reference/node-settings.md from the table of settings; with --check, fails when it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

from eyeflow.node.config.reference import settings_page

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "node-settings.md"


def main() -> int:
    """Write or check the page; returns the exit code."""
    text = settings_page()
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
        if stale:
            print(f"{PAGE} is stale: run tools/gen_settings.py", file=sys.stderr)
        return int(stale)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
