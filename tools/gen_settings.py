"""Writes docs/reference/node-settings.md from the table of settings; with --check, fails when it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

from eyeflow.node.config.settings import NAMED_TABLES, SETTINGS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "node-settings.md"

HEAD = """# Settings of a node

Generated from `src/eyeflow/node/config/settings.py` by `tools/gen_settings.py`; do not edit.

A setting stands in its section of `eyeflow-svm.toml`. Its environment variable overrides the file, and its
flag overrides both: `--offline-max-buffer-size-mb 64` sets `max_buffer_size_mb` of `[offline]`. In a variable or flag,
a list is written with commas. A relative path starts at the directory of the configuration file. An unknown section or
key is an error.
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for section in dict.fromkeys(setting.section for setting in SETTINGS):
        parts.append(f"\n## [{section}]\n\n| key | type | default | variable | |\n|---|---|---|---|---|\n")
        for setting in SETTINGS:
            if setting.section == section:
                default = f"`{setting.default}`" if setting.default else "none"
                cells = (f"`{setting.key}`", setting.kind.value, default, f"`{setting.variable}`", setting.doc)
                parts.append("| " + " | ".join(cells) + " |\n")
    parts.append(
        "\n## Sections with names of your own\n\nThese are set in the file only.\n\n| section | |\n|---|---|\n"
    )
    parts += [f"| `[{name}]` | {doc} |\n" for name, doc in NAMED_TABLES.items()]
    return "".join(parts)


def main() -> int:
    """Write or check the page; returns the exit code."""
    text = page()
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
        if stale:
            print(f"{PAGE} is stale: run tools/gen_settings.py", file=sys.stderr)
        return int(stale)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
