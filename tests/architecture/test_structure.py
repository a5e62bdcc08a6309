"""The shape of the code: imports point down, files and functions stay small, only the cli prints or exits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "eyeflow"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
GENERATED = {
    SOURCE / "svm" / "opcodes.py",
    SOURCE / "cli" / "surface.py",
    SOURCE / "compiler" / "catalog_builtin.py",
}

LAYERS = {
    "base": 0,
    "evidence": 1,
    "net": 1,
    "svm": 1,
    "protocol": 1,
    "audit": 2,
    "compiler": 2,
    "client": 2,
    "rollout": 2,
    "board_link": 2,
    "node": 3,
    "coordinator": 3,
    "mcu": 3,
    "cli": 4,
}
"""A module may import its own package and packages of a strictly lower layer."""

READERS = {"rollout": {"coordinator"}, "board_link": {"node", "mcu", "cli"}}
"""Packages that only some may import: a strategy is the coordinator's decision, and only who stands at a serial port
talks to a board."""

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 50
FORBIDDEN_NAMES = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}

HOMES = {
    "apsw": {"coordinator/archive", "coordinator/store", "node/store"},
    "cbor2": {"protocol/cbor.py"},
    "confluent_kafka": {"node/io/kafka"},
    "cronsim": {"svm/schedule.py"},
    "cryptography": {"client/keyring.py", "protocol/certificates.py", "protocol/identity.py", "svm/signing.py"},
    "elftools": {"mcu/size.py"},
    "gpiod": {"node/io/gpio"},
    "h11": {"net/server.py"},
    "httpx": {"client", "net/bodies.py", "node/cluster", "node/io/http", "node/io/llm"},
    "jsonschema": {"coordinator/schema.py"},
    "msgspec": {"node/io/kafka/copies.py", "protocol"},
    "paho": {"node/io/mqtt"},
    "prometheus_client": {"base/metrics_text.py"},
    "psutil": {"node/io/host"},
    "rich": {"cli/console.py"},
    "serial": {"board_link", "node/io/serial"},
    "starlette": {"coordinator", "node/io/http"},
    "tomli_w": {"client"},
    "typer": {"cli"},
    "uvicorn": {"net/server.py"},
    "websockets": {"client/news.py", "node/cluster"},
    "zstandard": {"protocol/collecting.py"},
}
"""Which rooms may import a third-party library: one home for each job, a package or a single module of it."""


def package_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def roots_of(tree: ast.AST) -> set[str]:
    return {name.split(".")[0] for name in imported(tree)}


def rooms_of(path: Path) -> set[str]:
    """Return the module itself and all packages that it is in, as HOMES names them."""
    own = path.relative_to(SOURCE)
    return {str(one) for one in (own, *own.parents)}


def direction_errors(path: Path, tree: ast.AST) -> list[str]:
    own = package_of(path)
    errors = []
    for name in sorted(set(imported(tree))):
        parts = name.split(".")
        if parts[0] != "eyeflow" or len(parts) < 2 or parts[1] not in LAYERS or not own or parts[1] == own:
            continue
        if LAYERS[parts[1]] >= LAYERS[own] or own not in READERS.get(parts[1], {own}):
            errors.append(f"{path.relative_to(ROOT)} imports {name}: {own} may not import {parts[1]}")
    return errors


def home_errors(path: Path, tree: ast.AST) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {root}, whose home is {sorted(HOMES[root])}"
        for root in sorted(roots_of(tree) & HOMES.keys())
        if not rooms_of(path) & HOMES[root]
    ]


def printing_errors(path: Path, tree: ast.AST) -> list[str]:
    if package_of(path) == "cli":
        return []
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        if text in {"print", "exit", "quit", "sys.exit", "os._exit"} or text.startswith(("sys.stdout", "sys.stderr")):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {text}: only eyeflow.cli prints or exits")
    return found


def size_errors(path: Path, tree: ast.AST) -> list[str]:
    errors = []
    lines = len(path.read_text().splitlines())
    if lines > FILE_LINES_MAX and path not in GENERATED:
        errors.append(f"{path.relative_to(ROOT)} has {lines} lines, more than {FILE_LINES_MAX}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                errors.append(
                    f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines > {FUNCTION_LINES_MAX}"
                )
    return errors


def test_each_room_is_lived_in() -> None:
    used = {(root, room) for path in FILES for root in roots_of(TREES[path]) for room in rooms_of(path)}
    empty = [(root, room) for root, rooms in HOMES.items() for room in rooms if (root, room) not in used]
    assert not empty, "take it out of HOMES"


@pytest.mark.parametrize("check", [direction_errors, home_errors, printing_errors, size_errors])
def test_structure(check: object) -> None:
    errors = [error for path in FILES for error in check(path, TREES[path])]  # type: ignore[operator]
    assert not errors, "\n" + "\n".join(errors)


CIRCLES: dict[str, set[str]] = {}
"""Imports that close a circle: none. Nothing is added."""

Graph = dict[str, set[str]]


def import_graph() -> Graph:
    """Return which module of eyeflow imports which: also inside of functions, and for types only.

    An import inside of a function hides a circle from Python, not from a reader: neither module can be understood, moved
    or tested without the other one.
    """
    files = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    return {
        name: {found for found in imported(TREES[path]) if found in modules and found != name}
        for name, path in modules.items()
    }


def circle(graph: Graph) -> list[str]:
    """Return the modules of one circle of imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_modules_import_each_other() -> None:
    graph = import_graph()
    for name, closing in CIRCLES.items():
        assert closing <= graph[name], f"{name} imports {closing} no more: take it out of CIRCLES"
        graph[name] -= closing
    assert not circle(graph), " imports ".join(reversed(circle(graph)))


def test_the_search_for_circles_can_fail() -> None:
    graph = {name: found - CIRCLES.get(name, set()) for name, found in import_graph().items()}
    graph["eyeflow.base.errors"].add("eyeflow.cli.main")
    assert {"eyeflow.base.errors", "eyeflow.cli.main"} <= set(circle(graph))


SQL = re.compile(
    r"\b(SELECT .+ FROM|INSERT (OR \w+ )?INTO|UPDATE \w+ SET|DELETE FROM|PRAGMA|CREATE TABLE)\b", re.DOTALL
)
DRIVERS = {"apsw": "sqlite", "psycopg": "postgres"}
"""Where the library of each database may be imported: in sqlite_*.py and postgres_*.py of store and archive. SQL also in sql_*.py."""


def sql_errors(path: Path, tree: ast.AST) -> list[str]:
    """The coordinator asks its store by verbs: another database must fit behind them (docs/ARCHITECTURE.md)."""
    if package_of(path) != "coordinator":
        return []
    kind = path.name.split("_")[0] if path.parent.name in {"store", "archive"} else ""
    drivers = {name.split(".")[0] for name in imported(tree)} & set(DRIVERS)
    found = [f"{path} imports {name}" for name in sorted(drivers) if DRIVERS[name] != kind]
    if kind in {"sql", *DRIVERS.values()}:
        return found
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [one for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return found + [f"{path}:{one.lineno} holds SQL" for one in texts if id(one) not in docs and SQL.search(one.value)]


def test_sql_stands_in_one_place_of_the_coordinator() -> None:
    assert not [error for path in FILES for error in sql_errors(path, ast.parse(path.read_text()))]
    bad = ast.parse("import apsw\nrun('SELECT a FROM b')\n")
    assert len(sql_errors(SOURCE / "coordinator" / "nodes.py", bad)) == 2, "the check can fail"
    assert len(sql_errors(SOURCE / "coordinator" / "store" / "sql_reading.py", bad)) == 1, "no dialect there"


def test_no_grab_bag_modules() -> None:
    assert not [path for path in FILES if path.name in FORBIDDEN_NAMES]


POLLING = {"tests/components/waiting.py", "tests/unit/coordinator/conftest.py", "tests/cli/test_first_path.py"}
"""Where a test may sleep: between two looks at a condition, with a deadline. Nowhere else, and never for luck."""
DELAYING = {"tests/components/proxy.py", "tests/kills/faulty.py"}
"""What makes others wait, as a slow network and a slow disk do: no test waits there."""


def test_tests_never_sleep_or_skip() -> None:
    errors = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                text = ast.unparse(node.func)
                if text in {"pytest.skip", "pytest.importorskip"}:
                    errors.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {text}")
                sleeps = text in {"time.sleep", "asyncio.sleep"} and ast.unparse(node.args[0]) != "0"
                if sleeps and str(path.relative_to(ROOT)) not in POLLING | DELAYING:
                    errors.append(f"{path.relative_to(ROOT)}:{node.lineno} sleeps: wait for a condition instead")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"pytest.mark.skip", "pytest.mark.skipif"}:
                errors.append(f"{path.relative_to(ROOT)}:{node.lineno} uses {ast.unparse(node)}")
    assert not errors, "\n" + "\n".join(errors)


def test_only_the_coordinator_imports_strategies() -> None:
    tree = ast.parse("from eyeflow.rollout import stepwise")
    assert direction_errors(SOURCE / "cli" / "deploy.py", tree)
    assert not direction_errors(SOURCE / "coordinator" / "hub.py", tree)


BAD = "import eyeflow.cli.main\nimport typer\nprint(1)\ndef f():\n" + "    pass\n" * 60


@pytest.mark.parametrize("check", [direction_errors, home_errors, printing_errors, size_errors])
def test_the_checks_can_fail(check: object) -> None:
    assert check(SOURCE / "svm" / "container.py", ast.parse(BAD))  # type: ignore[operator]
