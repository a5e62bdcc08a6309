"""Nodes and boards in one deployment: each gets the program for its chip, by every strategy, or all are refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.protocol import messages as m
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

from .test_board_strategies import Plant, plant
from .test_fitness import FACTS, tell
from .test_judging import NODES, Watching

__all__ = ["plant"]

CHIP = "STM32F401CC"
RULE = """rule relay {{
    version "{version}"
    pin RELAY: output
    param level: float = 3.0
    state ticks: int = 0
    on every 100ms
    ticks = ticks + 1
    gpio.set_pin(RELAY, if ticks % 2 == 0 then HIGH else LOW)
}}
"""


def made(version: str, chip: str = "", rule: str = "relay") -> bytes:
    options = CompileOptions(profile=Profile.MCU, chip=chip) if chip else CompileOptions()
    text = RULE.format(version=version).replace("rule relay", f"rule {rule}")
    result = compile_rule(text, name="relay.eye", options=options)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), bytes(range(32)))


def programs(version: str) -> dict[str, str]:
    """The programs of a version by node of the plant."""
    node, board = (decode(made(version, chip)).program_id for chip in ("", CHIP))
    return {"board-a": board, "board-b": board, "gateway": node}


async def ask(made_plant: Plant, version: str, strategy: str, **options: Any) -> Any:
    node, board = [await made_plant.upload(made(version, chip)) for chip in ("", CHIP)]
    asked = {"all": True, "programId": node, "boardPrograms": [{"programId": board}]}
    return await made_plant.ask(asked, strategy, **options)


async def wanted(made_plant: Plant) -> dict[str, str]:
    shown = (await made_plant.client.get("/api/nodes")).json()["nodes"]
    return {one["name"]: rule["wanted"]["programId"] for one in shown for rule in one["rules"] if rule["wanted"]}


def test_nodes_and_boards_in_one_deployment(plant: Any) -> None:
    """One plant for all of it: to start a coordinator, a gateway and boards costs as much as a deployment."""

    async def test(made_plant: Plant) -> None:
        await each_strategy_brings_all_their_programs_with_one_request(made_plant)
        await in_a_canary_one_board_at_least_acts_beside_the_nodes(made_plant)
        await a_board_that_fails_takes_the_nodes_back_too(made_plant)

    plant(test)


async def each_strategy_brings_all_their_programs_with_one_request(made_plant: Plant) -> None:
    for number, strategy in enumerate(("immediate", "rolling", "blue_green", "canary")):
        version = f"2.{number}.0"
        ended = await made_plant.end_of(await ask(made_plant, version, strategy))
        assert ended["state"] == "succeeded", ended
        assert await wanted(made_plant) == programs(version)
        assert {one["node"]: one["state"] for one in ended["nodes"]} == dict.fromkeys(programs(version), "installed")
        assert made_plant.running == [version, version] and made_plant.staged == ["", ""]
    (change,) = ended["changes"]
    assert change["boardPrograms"] == [{"chip": CHIP, "programId": programs(version)["board-a"]}]
    again = await made_plant.client.post(f"/api/deployments/{ended['id']}/retry")
    assert again.status_code == 202 and again.json()["changes"] == ended["changes"]
    await cancelled(made_plant, again.headers["location"])


async def in_a_canary_one_board_at_least_acts_beside_the_nodes(made_plant: Plant) -> None:
    begun = (await ask(made_plant, "2.4.0", "canary", steps=[1], observeS=3600)).headers["location"]

    async def acts() -> bool:
        return made_plant.running.count("2.4.0") == 1

    await made_plant.make.until(acts, "one board acts by the candidate")
    await cancelled(made_plant, begun)


async def cancelled(made_plant: Plant, begun: str) -> None:
    await made_plant.client.post(f"{begun}/cancel")
    assert (await made_plant.make.ended(made_plant.client, begun))["state"] == "cancelled"


async def a_board_that_fails_takes_the_nodes_back_too(made_plant: Plant) -> None:
    made_plant.boards["board-b"].goes_back_from = "2.5.0"
    ended = await made_plant.end_of(await ask(made_plant, "2.5.0", "blue_green", observeS=30))
    assert ended["state"] == "failed" and "board-b: it went back by itself" in ended["reason"], ended
    assert await wanted(made_plant) == programs("2.3.0")


@pytest.fixture
def mixed(full: Any) -> Any:
    """A node, and a board behind it."""
    tell(full, "node-a", FACTS)
    full.do(lambda writing: writing.record_board("node-b", "node-a", "0001020304050607"))
    tell(full, "node-b", replace(FACTS, profile="mcu", chip=CHIP))
    for chip in ("", CHIP, "RP2040"):
        assert full.upload(made("1.0.0", chip)).status_code == 201
    return full


def wanted_on(api: Any, node: str) -> list[Any]:
    return [one.target for one in api.look(lambda reading: reading.wanted(node)) if one.rule == "relay"]


def deploy(api: Any, body: dict[str, Any]) -> Any:
    return api.ask("POST", "/api/rules/relay/deploy", json={"all": True, **body})


def board_programs(*chips: str) -> list[dict[str, str]]:
    return [{"programId": decode(made("1.0.0", chip)).program_id} for chip in chips]


def test_what_a_board_cannot_do_is_refused_with_what_to_do_and_nothing_is_kept(mixed: Any) -> None:
    for body, says in (
        ({}, "node-b is a board with the chip STM32F401CC, and no program of `relay` comes for that"),
        ({"boardPrograms": board_programs("RP2040")}, "node-b is a board with the chip STM32F401CC"),
        ({"boardPrograms": board_programs(CHIP), "strategy": "shadow"}, "node-b is a board, which runs one program"),
    ):
        refused = deploy(mixed, body)
        assert (refused.status_code, refused.json()["code"]) == (422, "unfit_nodes"), refused.text
        assert [one["message"] for one in refused.json()["errors"]] == [refused.json()["errors"][0]["message"]]
        assert refused.json()["errors"][0]["message"].startswith(says)
        assert "leave them out (--exclude node-b)" in refused.json()["nextStep"]
        assert wanted_on(mixed, "node-a") == []
    for chips in (("",), (CHIP, CHIP)):
        assert deploy(mixed, {"boardPrograms": board_programs(*chips)}).json()["code"] == "invalid_body"
    assert deploy(mixed, {"boardPrograms": board_programs(CHIP), "exclude": ["node-b"]}).status_code == 202


def test_a_board_that_has_not_told_its_chip_is_refused(mixed: Any) -> None:
    tell(mixed, "node-b", None)
    refused = deploy(mixed, {"boardPrograms": board_programs(CHIP)})
    assert refused.status_code == 422 and "has not told its chip yet" in refused.text


def test_a_plan_shows_each_node_its_program_and_unchanged_looks_at_each(mixed: Any) -> None:
    node, board = (decode(made("1.0.0", chip)).program_id for chip in ("", CHIP))
    change = {"rule": "relay", "programId": node, "boardPrograms": board_programs(CHIP)}
    body = {"all": True, "changes": [change]}
    planned = mixed.ask("POST", "/api/deployments/plan", json=body).json()
    assert [(one["node"], one["changes"][0]["programId"]) for one in planned["nodes"]] == [
        ("node-a", node),
        ("node-b", board),
    ]
    assert not any(one["problems"] for one in planned["nodes"])
    where = deploy(mixed, {"boardPrograms": board_programs(CHIP)}).headers["location"]
    for name, program_id in (("node-a", node), ("node-b", board)):
        (target,) = wanted_on(mixed, name)
        assert target.program_ids == (program_id,)
        version = mixed.look(lambda reading, name=name: reading.node(name).manifest_version)
        result = m.ManifestResult(version, (m.RuleResult("relay", program_id, m.RuleState.INSTALLED),))
        mixed.run(lambda name=name, result=result: mixed.hub.deployments.reported(name, result, mixed.clock()))
    mixed.tick()
    assert mixed.ask("GET", where).json()["state"] == "succeeded"
    same = mixed.ask("POST", "/api/deployments", json=body | {"skipUnchanged": True})
    assert (same.status_code, same.json()) == (200, {"unchanged": ["relay"]}), same.text
    other = {**change, "boardPrograms": board_programs("RP2040")}
    refused = mixed.ask("POST", "/api/deployments", json=body | {"skipUnchanged": True, "changes": [other]})
    assert refused.status_code == 422, "for the board another program is no change that is there already"


def test_without_an_id_the_last_program_for_nodes_is_meant(mixed: Any) -> None:
    begun = mixed.ask("POST", "/api/rules/relay/deploy", json={"nodeIds": ["node-a"]}).json()
    assert begun["changes"][0]["programId"] == decode(made("1.0.0")).program_id, "the RP2040's came last"


@pytest.fixture
def watching(full: Any, make: Any) -> Watching:
    full.do(lambda writing: writing.record_board(NODES[1], NODES[0], "0001020304050607"))
    return Watching(full, make)


@pytest.mark.parametrize(("bad", "who"), [(NODES[1], "boards"), (NODES[0], "nodes")])
def test_boards_are_judged_apart_so_that_busy_nodes_hide_no_bad_one(watching: Watching, bad: str, who: str) -> None:
    for node in NODES:
        watching.tells(node, watching.old, 1_000, 0)
    watching.deploy({"strategy": "immediate", "options": {"observeS": 60}})
    watching.answer(*NODES)
    good = NODES[bad == NODES[0]]
    watching.tells(good, watching.id, 100_000, 0)
    watching.tells(bad, watching.id, 60, 60)
    ended = watching.look()
    assert ended["state"] in ("rollingBack", "failed") and ended["reason"].startswith(f"{who}: 60 of 60"), ended


def test_boards_need_executions_of_their_own(watching: Watching) -> None:
    for node in NODES:
        watching.tells(node, watching.old, 1_000, 0)
    watching.deploy({"strategy": "immediate", "options": {"observeS": 60}})
    watching.answer(*NODES)
    watching.look(58)
    watching.tells(NODES[0], watching.id, 1_000, 0)
    watching.tells(NODES[1], watching.id, 0, 0)
    waits = watching.look()
    assert waits["state"] == "observing" and "boards: no executions" in waits["paused"][0]["text"], waits
    watching.tells(NODES[1], watching.id, 100, 0)
    watching.tells(NODES[0], watching.id, 2_000, 0)
    assert watching.look()["state"] == "succeeded"
