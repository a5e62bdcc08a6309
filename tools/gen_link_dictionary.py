"""Write the preset dictionary of the serial link: `python tools/gen_link_dictionary.py [--check] [--train]`.

`tools/link_dictionaries.toml` keeps every version that a board in the field may have. From it come
`embassy/link/src/dictionary.rs` (the newest version, which new firmware has) and `src/eyeflow/board_link/dictionary.py`
(all of them, because a host meets old firmware). `--train` adds a version made of what the programs of `examples/` have
in common. With `--check` nothing is written, and a stale file means exit code 1.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tools/link_dictionaries.toml"
RUST = ROOT / "embassy/link/src/dictionary.rs"
PYTHON = ROOT / "src/eyeflow/board_link/dictionary.py"
CHIP = "STM32F401CC"

SIZE_BYTES = 512
"""The dictionary lies in the flash of every board, RP2040 with its 32 KB included."""
SEGMENT_BYTES = 20
GRAM_BYTES = 5


def main(arguments: list[str]) -> int:
    """Train, write or check; return the exit code."""
    if "--train" in arguments:
        add_version(train(example_programs()))
    versions = load()
    stale = [path for path, text in ((RUST, rust(versions)), (PYTHON, python(versions))) if differs(path, text)]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run python tools/gen_link_dictionary.py", file=sys.stderr)
        return 1 if stale else 0
    RUST.write_text(rust(versions), "utf-8")
    PYTHON.write_text(python(versions), "utf-8")
    return 0


def differs(path: Path, text: str) -> bool:
    """Return whether a file does not hold this text."""
    return not path.exists() or path.read_text("utf-8") != text


def load() -> dict[int, bytes]:
    """Return the dictionaries by version."""
    table = tomllib.loads(TABLE.read_text("utf-8"))
    return {entry["version"]: bytes.fromhex(entry["hex"]) for entry in table["dictionary"]}


def add_version(content: bytes) -> None:
    """Append a dictionary to the table; what is there stays, for the boards that have it."""
    number = max(load(), default=0) + 1 if TABLE.exists() else 1
    lines = "\n".join(content[at : at + 48].hex() for at in range(0, len(content), 48))
    head = "" if TABLE.exists() else "# The preset dictionaries of the serial link. Never change one: boards have it.\n"
    with TABLE.open("a", encoding="utf-8") as file:
        file.write(f'{head}\n[[dictionary]]\nversion = {number}\nhex = """\n{lines}\n"""\n')


def example_programs() -> list[bytes]:
    """Return the program of every example: for a chip where it can be compiled for one, else for linux."""
    from eyeflow.compiler.catalog import Catalog
    from eyeflow.compiler.compile import CompileOptions, compile_rule
    from eyeflow.mcu.chips import find_chip
    from eyeflow.svm.container import encode
    from eyeflow.svm.program import Profile

    chip = CompileOptions(profile=Profile.MCU, chip=CHIP, chip_limits=find_chip(CHIP).limits)
    programs = []
    for path in sorted((ROOT / "examples").glob("*/*.eye")):
        for options in (chip, CompileOptions()):
            result = compile_rule(path.read_text("utf-8"), name=path.name, catalog=Catalog.builtin(), options=options)
            if result.program is not None:
                programs.append(encode(result.program))
                break
    return programs


def train(programs: list[bytes]) -> bytes:
    """Return the segments that cover most of what several programs share, the most useful one last."""
    weights: Counter[bytes] = Counter()
    for program in programs:
        weights.update({program[at : at + GRAM_BYTES] for at in range(len(program) - GRAM_BYTES + 1)})
    shared = {gram: count - 1 for gram, count in weights.items() if count > 1 and len(set(gram)) > 1}
    segments: list[bytes] = []
    while sum(map(len, segments)) < SIZE_BYTES:
        best = max(candidates(programs), key=lambda segment: (gain(segment, shared), segment))
        for gram in grams(best):
            shared.pop(gram, None)
        segments.append(best)
    return b"".join(reversed(segments))[-SIZE_BYTES:]


def candidates(programs: list[bytes]) -> set[bytes]:
    """Return every stretch of the length of a segment."""
    return {program[at : at + SEGMENT_BYTES] for program in programs for at in range(len(program) - SEGMENT_BYTES + 1)}


def grams(segment: bytes) -> list[bytes]:
    """Return the short stretches of a segment."""
    return [segment[at : at + GRAM_BYTES] for at in range(len(segment) - GRAM_BYTES + 1)]


def gain(segment: bytes, shared: dict[bytes, int]) -> int:
    """Return how often other programs would find a piece of this segment."""
    return sum(shared.get(gram, 0) for gram in set(grams(segment)))


def rust(versions: dict[int, bytes]) -> str:
    """Return the text of dictionary.rs."""
    number = max(versions)
    content = versions[number]
    rows = "\n".join(
        "    " + " ".join(f"0x{byte:02x}," for byte in content[at : at + 19]) for at in range(0, len(content), 19)
    )
    return (
        "//! The preset dictionary. Generated by tools/gen_link_dictionary.py: do not edit.\n\n"
        "/// The version of the dictionary; the host must use the same one.\n"
        f"pub const DICTIONARY_VERSION: u16 = {number};\n\n"
        "#[rustfmt::skip]\n"
        f"pub(crate) const DICTIONARY: [u8; {len(content)}] = [\n{rows}\n];\n"
    )


def python(versions: dict[int, bytes]) -> str:
    """Return the text of dictionary.py."""
    entries = []
    for number, content in sorted(versions.items()):
        rows = "\n".join(f'        "{content[at : at + 48].hex()}"' for at in range(0, len(content), 48))
        entries.append(f"    {number}: bytes.fromhex(\n{rows}\n    ),\n")
    return (
        '"""The preset dictionaries of the link. Generated by tools/gen_link_dictionary.py: do not edit."""\n\n'
        "from __future__ import annotations\n\n"
        "DICTIONARIES: dict[int, bytes] = {\n" + "".join(entries) + "}\n"
        '"""Every version that firmware in the field may have."""\n'
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
