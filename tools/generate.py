"""Write every generated file again (`make golden`), or fail when one is stale (`--check`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parent


def main() -> int:
    """Run every generator beside this file with the same arguments; return the worst exit code."""
    scripts = sorted(TOOLS.glob("gen_*.py"))
    return max(subprocess.run([sys.executable, str(script), *sys.argv[1:]]).returncode for script in scripts)


if __name__ == "__main__":
    sys.exit(main())
