from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "gen_rest.py"


def test_the_page_of_the_rest_api_is_fresh(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_control_a_stale_page_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path / "tools" / "gen_rest.py"
    copy.parent.mkdir()
    copy.write_text(TOOL.read_text())
    done = subprocess.run([sys.executable, str(copy), "--check"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "stale" in done.stderr
