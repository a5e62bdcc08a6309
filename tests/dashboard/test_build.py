"""What is committed is what the sources build, it is small, both languages say all, and no machine stands in the lock."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

from eyeflow.coordinator import pages

SOURCES = Path(__file__).parents[2] / "dashboard"
FIRST_VIEW_BYTES = 60 * 1024
IMPORTED = re.compile(r'(?:from|import)\s*"\./([^"]+)"')


def test_what_is_committed_is_what_the_sources_build(tmp_path: Path) -> None:
    assert (SOURCES / "node_modules").is_dir(), "run: make dashboard"
    built = subprocess.run(["node", SOURCES / "build.mjs", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    made, kept = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path, pages.FOLDER))
    assert made.keys() == kept.keys() and [name for name in made if made[name] != kept[name]] == [], "make dashboard"


def test_the_sources_have_the_types_that_they_say() -> None:
    checked = subprocess.run(["npx", "--no-install", "tsc"], cwd=SOURCES, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_first_view_is_small() -> None:
    """The page, its style, the program with all that it imports, one language, and the overview."""
    files = {name: file.data for name, file in pages.files().items()}
    wanted = {"index.html", "app.css", "start.js", "favicon.svg", "app.js"}
    wanted |= {name for name in files if name.startswith(("overview-", "en-"))}
    while more := {one for name in wanted for one in statically(files[name].decode())} - wanted:
        wanted |= more
    sizes = {name: len(gzip.compress(files[name], 9)) for name in wanted}
    assert sum(sizes.values()) <= FIRST_VIEW_BYTES, sizes
    assert {"app.js", "index.html"} < wanted and sum(sizes.values()) > FIRST_VIEW_BYTES / 10, "the control"


def statically(text: str) -> set[str]:
    return set(IMPORTED.findall(text))


def test_both_languages_say_the_same_things() -> None:
    english, french = texts("en"), texts("fr")
    assert english.keys() == french.keys()
    for name, text in english.items():
        values = [set(re.findall(r"\{(\w+)\}", one)) for one in (text, french[name])]
        assert values[0] == values[1], name
        assert text.strip() and french[name].strip(), name
    assert sum(english[name] != french[name] for name in english) > len(english) * 0.8, "the control: it is French"


def texts(language: str) -> dict[str, str]:
    """All texts of a language; those that only some pages say have files of their own."""
    files = [SOURCES / f"src/text/{language}.json", *SOURCES.glob(f"src/text/*.{language}.json")]
    found = [json.loads(path.read_text()) for path in files]
    names = [name for one in found for name in one]
    assert len(found) > 1 and len(names) == len(set(names)), "each text stands in one file"
    return {name: text for one in found for name, text in one.items()}


def test_every_text_is_used() -> None:
    english = texts("en")
    sources = "\n".join(path.read_text() for path in SOURCES.glob("src/**/*.ts*"))
    made = {f"{start}_" for start in re.findall(r"`(\w+)_\$\{", sources)}
    unused = [
        name
        for name in english
        if f'"{name}"' not in sources
        and f'"{re.sub("_(one|other)$", "", name)}"' not in sources
        and not any(name.startswith(one) for one in made)
    ]
    assert not unused


def test_texts_are_put_in_as_text() -> None:
    sources = {path: path.read_text() for path in SOURCES.glob("src/**/*.ts*")}
    found = [
        path.name
        for path, text in sources.items()
        if re.search(r"(?i:innerHTML|outerHTML)|insertAdjacent|eval\(", text)
    ]
    assert not found and sources
    assert not [path.name for path, text in sources.items() if re.search(r"\sstyle=", text)], "the policy refuses these"


def test_the_lock_holds_what_was_locked_and_names_no_registry() -> None:
    lock = json.loads((SOURCES / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert all(one["integrity"].startswith("sha512-") for one in packages.values()) and len(packages) > 5
    assert not [name for name, one in packages.items() if "resolved" in one]
    wanted = json.loads((SOURCES / "package.json").read_text())
    versions = wanted["dependencies"] | wanted["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", one) for one in versions.values())
    assert all(packages[f"node_modules/{name}"]["version"] == one for name, one in versions.items())
