"""The catalog: the built-in one, a user's own, and clear refusals of what is no catalog."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.program import Profile, SiteKind
from generators.running import wrapped

ROOT = Path(__file__).parents[3]
VALVES = """
[[enum]]
name = "Valve"
members = ["SHUT", "OPEN"]
doc = "Position of a valve."

[[capability]]
name = "plant.set_valve"
kind = "act"
args = [{ name = "number", type = "int" }, { name = "position", type = "Valve", default = "OPEN" }]
profiles = ["linux"]
unavailable = { mcu = "the valve bus is on the node" }
resource = "valve/{number}"
level = true
cost = 50
doc = "Set the position of a valve."
"""


def test_the_page_is_up_to_date() -> None:
    script = ROOT / "tools" / "gen_capabilities.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_builtin_entry_is_complete() -> None:
    catalog = Catalog.builtin()
    entries: list[Any] = [*catalog.capabilities.values(), *catalog.sources.values()]
    for one in entries:
        assert one.doc.endswith("."), one.name
        assert one.profiles | set(one.unavailable) == {Profile.LINUX, Profile.MCU}, one.name
        assert not one.profiles & set(one.unavailable), one.name


def test_linux_capabilities_are_those_that_the_nodes_drivers_serve() -> None:
    from eyeflow.node.io import connectors

    served = Path(connectors.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in served.glob("*/driver.py"))
    for one in Catalog.builtin().capabilities.values():
        assert (f'"{one.name}"' in text) == (Profile.LINUX in one.profiles), one.name


def test_a_users_catalog_adds_capabilities() -> None:
    catalog = Catalog.builtin().with_toml(VALVES, name="plant.toml")
    source = wrapped("on every 1s\nplant.set_valve(3)\nplant.set_valve(4, SHUT)")
    program = compile_rule(source, name="x", catalog=catalog).program
    assert program is not None
    site = program.sites[0]
    assert (site.kind, site.capability, site.resource, site.level, site.cost) == (
        SiteKind.ACT, "plant.set_valve", "valve/{number}", True, 50
    )  # fmt: skip
    on_mcu = compile_rule(source, name="x", catalog=catalog, options=CompileOptions(profile=Profile.MCU))
    assert [found.message for found in on_mcu.diagnostics] == [
        "`plant.set_valve` is not available on mcu: the valve bus is on the node"
    ] * 2


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("[[capability]]", "[[capability]", "is not TOML"),
        ("[[capability]]", "[[capabilities]]", "`capabilities` is no part of a catalog"),
        ('kind = "act"', 'kind = "do"', "line 8: `plant.set_valve`: `kind` is 'do'"),
        ('"int"', '"integer"', "`integer` is no type"),
        ("level = true", 'level = "yes"', "`level` is not a bool"),
        ("cost = 50", "cost = -1", "`cost` is not a number from 0 to 65535"),
        ("{number}", "{valve}", "`resource` names the unknown argument `valve`"),
        ('default = "OPEN"', 'default = "AJAR"', "`AJAR` is no member of Valve"),
        ('default = "OPEN"', "default = 1", "the default 1 is no Valve"),
        ('["linux"]', '["windows"]', "names an unknown profile"),
        ("plant.set_valve", "set_valve", "this is no name for a capability"),
        ("plant.set_valve", "log.info", "the capability `log.info` exists already"),
        ("resource", "ressource", "unknown key `ressource`"),
        ('name = "position"', 'name = "number"', "`number` stands here twice"),
        ('doc = "Set the position of a valve."', "", "`doc` is missing or not a text"),
        ('"Valve"\n', '"Level"\n', "the enum `Level` exists already"),
        ("level = true", 'result = "int"', "an action has no result"),
    ],
)
def test_a_mistake_is_named_with_its_place(before: str, after: str, problem: str) -> None:
    assert before in VALVES
    with pytest.raises(EyeflowError) as caught:
        Catalog.builtin().with_toml(VALVES.replace(before, after), name="plant.toml")
    assert problem in caught.value.message
    assert "plant.toml" in caught.value.message
    assert caught.value.next_step
    assert caught.value.exit_code is ExitCode.PROBLEMS


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("gpio.setpin", "gpio.set_pin"),
        ("gipo.set_pin", "gpio.set_pin"),
        ("io.set_pin", "gpio.set_pin"),
        ("a.qqq", None),
    ],
)
def test_near_names(written: str, expected: str | None) -> None:
    assert Catalog.builtin().near(written) == expected
