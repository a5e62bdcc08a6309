"""What is generated from the instruction-set table is not stale, and `opcodes` stays quick to import."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from eyeflow.svm import opcodes

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools/gen_isa.py"
TABLE = tomllib.loads((ROOT / "src/eyeflow/svm/isa.toml").read_text("utf-8"))


def test_generated_files_are_not_stale() -> None:
    done = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_changed_table_is_noticed(tmp_path: Path) -> None:
    """A control: the check can fail."""
    spec = importlib.util.spec_from_file_location("gen_isa_under_test", TOOL)
    assert spec is not None and spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    changed = tmp_path / "isa.toml"
    changed.write_text(tool.TABLE.read_text("utf-8").replace('doc = "Sum."', 'doc = "Total."', 1), "utf-8")
    assert tool.stale() == []
    tool.TABLE = changed
    names = {path.name for path in tool.stale()}
    assert names == {"isa.md", "isa.rs"}


def test_enums_and_tables_are_those_of_the_table() -> None:
    assert {(op.name, op.value) for op in opcodes.Op} == {(op["name"], op["code"]) for op in TABLE["op"]}
    assert {(trap.name, trap.value) for trap in opcodes.Trap} == {
        (trap["name"], trap["code"]) for trap in TABLE["trap"]
    }
    assert set(opcodes.OPS) == set(opcodes.Op)
    assert set(opcodes.TIMERS) == set(opcodes.TimerKind)
    assert set(opcodes.TRAP_TEXT) == set(opcodes.Trap)


def test_importing_opcodes_parses_no_table() -> None:
    code = "import sys, eyeflow.svm.opcodes; sys.exit('tomllib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
