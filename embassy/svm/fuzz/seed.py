"""Write seeds for the fuzz targets from the conformance corpus: `python embassy/svm/fuzz/seed.py`."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = HERE.parents[2] / "tests/conformance/cases"
ANSWERS = bytes(32)


def main() -> None:
    """Write one file for each program of the corpus into the corpus of each target."""
    programs = {
        bytes.fromhex(case["program"])
        for path in sorted(CASES.glob("*.json"))
        if path.stem != "refused"
        for case in json.loads(path.read_text("utf-8"))
    }
    for target, head in (("decode", b""), ("run", ANSWERS)):
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for index, program in enumerate(sorted(programs)):
            (folder / f"case{index}").write_bytes(head + program)


if __name__ == "__main__":
    main()
