"""Every strategy of a deployment on boards behind a gateway: a real coordinator and node, and light boards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import running, until
from eyeflow.board_link.messages import Request
from eyeflow.coordinator.boards import is_away, is_told_away
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.protocol.boards import BoardState
from eyeflow.rollout import progress
from eyeflow.rollout.deployment import NodeProgress, NodeState
from eyeflow.svm.container import decode

from .test_boards import OCTETS, program

NAMES = ("board-a", "board-b", "board-c")
OPTIONS = {"observeS": 1, "samplesMin": 5}
MANY = 50


@dataclass
class Plant:
    """A coordinator, a gateway, and its boards by name."""

    client: Any
    make: Any
    boards: dict[str, BoardDouble]
    node: str = "gateway"
    deployed: list[str] = field(default_factory=list)

    async def upload(self, data: bytes) -> str:
        added = await self.client.post("/api/programs", content=data, headers=OCTETS)
        assert added.status_code in (200, 201), added.text
        return decode(data).program_id

    async def deploy(self, version: str, strategy: str, **options: Any) -> Any:
        where = {"programId": await self.upload(program(version)), "nodeIds": sorted(self.boards)}
        return await self.ask(where, strategy, **options)

    async def ask(self, where: dict[str, Any], strategy: str, **options: Any) -> Any:
        asked = where | {"strategy": strategy}
        if strategy != "immediate":
            asked["options"] = OPTIONS | options
        return await self.client.post("/api/rules/relay/deploy", json=asked)

    async def deployed_by(self, version: str, strategy: str, **options: Any) -> dict[str, Any]:
        """Deploy and wait for the end."""
        return await self.end_of(await self.deploy(version, strategy, **options))

    async def end_of(self, answer: Any) -> dict[str, Any]:
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = await self.make.ended(self.client, answer.headers["location"])
        return found

    async def first(self) -> None:
        """Let all boards run the first version."""
        assert (await self.deployed_by("1.0.0", "immediate"))["state"] == "succeeded"

    @property
    def running(self) -> list[str]:
        return [one.programs[0].signed.program.version if one.programs else "" for one in self.boards.values()]

    @property
    def staged(self) -> list[str]:
        return [one.staged[0].signed.program.version if one.staged else "" for one in self.boards.values()]

    async def answers(self, state: str) -> None:
        async def found() -> bool:
            shown = (await self.client.get("/api/nodes")).json()["nodes"]
            states = [one["board"]["state"] for one in shown if one["board"]]
            return states == [state] * len(self.boards)

        await self.make.until(found, f"the boards are {state}")


Test = Callable[[Plant], Coroutine[Any, Any, None]]


@pytest.fixture
def plant(cluster: Any, make: Any, tmp_path: Path) -> Callable[[Test, int], None]:
    def run(test: Test, count: int = 2) -> None:
        boards = {
            name: BoardDouble(device=bytes([number] * 8), executes=MANY) for number, name in enumerate(NAMES[:count])
        }

        async def main(ports: list[str]) -> None:
            async with cluster.coordinator() as client:
                token = (await client.post("/api/nodes/join-tokens", json={})).json()["token"]
                (tmp_path / "token").write_text(token)
                (tmp_path / "token").chmod(0o600)
                coordinator = CoordinatorConfig(cluster.url, token_file=tmp_path / "token")
                sections = tuple(BoardSection(name, port) for name, port in zip(boards, ports, strict=True))
                config = NodeConfig(
                    "gateway",
                    tmp_path / "node",
                    grants=("log.*", "gpio.*"),
                    coordinator=coordinator,
                    ports=ports_config(),
                    boards=sections,
                )
                made = Plant(client, make, boards)
                async with running(run_node(config, stop=asyncio.Event())):
                    await made.answers("online")
                    await made.first()
                    await test(made)

        with ExitStack() as stack:
            ports = [stack.enter_context(plugged_in(board)) for board in boards.values()]
            asyncio.run(main(ports))

    return run


def test_rolling_changes_one_board_after_the_other_by_their_counters(plant: Any) -> None:
    async def test(made: Plant) -> None:
        seen: set[tuple[str, ...]] = set()
        watching = asyncio.ensure_future(made.deployed_by("1.1.0", "rolling"))
        await until(lambda: seen.add(tuple(made.running)) or watching.done())
        assert (await watching)["state"] == "succeeded"
        assert made.running == ["1.1.0", "1.1.0"]
        assert ("1.1.0", "1.0.0") in seen and ("1.0.0", "1.1.0") not in seen

    plant(test)


def test_a_bad_program_stops_rolling_at_the_first_board_and_is_told_as_rolled_back(plant: Any) -> None:
    async def test(made: Plant) -> None:
        made.boards["board-a"].goes_back_from = "1.1.0"
        ended = await made.deployed_by("1.1.0", "rolling", observeS=30)
        assert ended["state"] == "failed", ended
        assert "board-a: it went back by itself: the board gave up relay" in ended["reason"]
        assert made.running == ["1.0.0", "1.0.0"]
        assert Request.BACK not in made.boards["board-a"].requests, "it did that by itself"
        assert made.boards["board-b"].requests.count(Request.PUSH_BEGIN) == 1

    plant(test)


def test_a_program_that_fails_its_trial_is_taken_back_by_the_coordinator(plant: Any) -> None:
    async def test(made: Plant) -> None:
        board = made.boards["board-a"]
        watching = asyncio.ensure_future(made.deployed_by("1.1.0", "rolling", observeS=60))

        async def runs() -> bool:
            return made.running[0] == "1.1.0"

        await made.make.until(runs, "the first board has it")
        pushed, held = board.pieces, board.programs[0]

        def fails() -> bool:
            """Its pump does nothing: a third of its calls fail."""
            held.failures = held.executions // 3
            return watching.done()

        await until(fails)
        ended = await watching
        assert ended["state"] == "failed" and "executions failed in their actions" in ended["reason"], ended
        assert made.running == ["1.0.0", "1.0.0"]
        assert (board.requests.count(Request.BACK), board.pieces) == (1, pushed), "nothing was sent again"

    plant(test)


def test_blue_green_stages_on_all_boards_and_switches_each_once(plant: Any) -> None:
    async def test(made: Plant) -> None:
        assert (await made.deployed_by("1.1.0", "blue_green"))["state"] == "succeeded"
        assert (made.running, made.staged) == (["1.1.0", "1.1.0"], ["", ""])
        for board in made.boards.values():
            assert (board.requests.count(Request.SWITCH), board.requests.count(Request.STAGE_BEGIN)) == (1, 1)

    plant(test)


def test_a_staged_program_is_shown_and_firmware_that_tells_no_stack_shows_none(plant: Any) -> None:
    async def test(made: Plant) -> None:
        begun = (await made.deploy("1.1.0", "canary", steps=[1], observeS=3600)).headers["location"]

        async def staged() -> bool:
            shown = (await made.client.get("/api/nodes")).json()["nodes"]
            return (
                sum(one["hasStaged"] for node in shown for one in (node["board"] or {"programs": ()})["programs"]) == 1
            )

        await made.make.until(staged, "the board that was not chosen tells of its staged program")
        boards = [one["board"] for one in (await made.client.get("/api/nodes")).json()["nodes"] if one["board"]]
        told = [(one["resetCause"], one["stackUsedBytes"], one["stackBytes"]) for one in boards]
        assert told == [("power", 1800, 4096)] * 2
        await made.client.post(f"{begun}/cancel")
        await made.make.ended(made.client, begun)
        made.boards["board-a"].is_old = True

        async def untold() -> bool:
            told = (await made.client.get("/api/nodes/board-a")).json()["board"]
            return (told["resetCause"], told["stackBytes"]) == ("", 0)

        await made.make.until(untold, "older firmware tells neither")

    plant(test)


def test_if_one_board_cannot_stage_none_switches(plant: Any) -> None:
    async def test(made: Plant) -> None:
        made.boards["board-b"].is_old = True
        ended = await made.deployed_by("1.1.0", "blue_green")
        assert ended["state"] == "failed" and "keeps no second program of a rule" in ended["reason"]
        assert made.running == ["1.0.0", "1.0.0"]
        assert all(Request.SWITCH not in board.requests for board in made.boards.values())

        async def given_up() -> bool:
            return made.staged == ["", ""]

        await made.make.until(given_up, "what was staged is given up")

    plant(test)


def test_after_a_failed_switch_all_boards_go_back_to_what_they_kept(plant: Any) -> None:
    async def test(made: Plant) -> None:
        made.boards["board-b"].goes_back_from = "1.1.0"
        pushed = {name: board.pieces for name, board in made.boards.items()}
        ended = await made.deployed_by("1.1.0", "blue_green", observeS=30)
        assert ended["state"] == "failed" and "board-b: it went back by itself" in ended["reason"], ended
        assert made.running == ["1.0.0", "1.0.0"]
        first = made.boards["board-a"]
        staged = -(-len(first._received) // 112)
        assert first.requests.count(Request.BACK) == 1 and first.pieces - pushed["board-a"] == staged

    plant(test)


def test_a_canary_goes_by_board(plant: Any) -> None:
    async def test(made: Plant) -> None:
        seen: set[int] = set()
        watching = asyncio.ensure_future(made.deployed_by("1.1.0", "canary", steps=[33, 66]))
        await until(lambda: seen.add(made.running.count("1.1.0")) or watching.done())
        ended = await watching
        assert ended["state"] == "succeeded", ended
        assert seen == {0, 1, 2, 3} and made.staged == ["", "", ""]

    plant(test, 3)


def test_a_board_that_is_away_counts_as_a_node_without_a_link(plant: Any) -> None:
    async def test(made: Plant) -> None:
        away = made.boards["board-a"]
        device, away.device = away.device, bytes([9] * 8)  # another board is plugged in there
        await gone(made, "board-a")
        answer = await made.deploy("1.1.0", "rolling")
        where = answer.headers["location"]

        async def other_runs() -> bool:
            return made.running[1] == "1.1.0"

        await made.make.until(other_runs, "the other board has its turn")
        shown = (await made.client.get(where)).json()
        states = {one["node"]: one["state"] for one in shown["nodes"]}
        assert not shown["over"] and states["board-a"] == "away", shown
        away.device = device
        assert (await made.make.ended(made.client, where))["state"] == "succeeded"
        assert made.running == ["1.1.0", "1.1.0"]

    plant(test)


async def gone(made: Plant, name: str) -> None:
    async def found() -> bool:
        of = (await made.client.get(f"/api/nodes/{name}")).json()["board"]
        return is_away(of["state"], of["reason"])

    await made.make.until(found, f"{name} is away")


def test_what_a_board_cannot_do_is_refused_with_the_reason(plant: Any) -> None:
    async def test(made: Plant) -> None:
        refused = await made.deploy("1.1.0", "shadow")
        assert refused.status_code == 422, refused.text
        (one, _) = refused.json()["errors"]
        assert one["message"].startswith("board-a is a board, which runs one program of a rule at a time")

    plant(test)


@pytest.mark.parametrize(
    ("state", "reason", "away"),
    [
        (BoardState.ONLINE, "answers", False),
        (BoardState.UPDATING, "update", False),
        (BoardState.STALE, "unanswered", False),
        (BoardState.FAILED, "rule_stopped", False),
        (BoardState.FAILED, "watchdog", False),
        (BoardState.FAILED, "other_device", True),
        (BoardState.LINK_LOST, "port_missing", True),
        (BoardState.UNKNOWN, "not_asked", True),
    ],
)
def test_which_boards_are_away(state: BoardState, reason: str, away: bool) -> None:
    assert is_away(state.value, reason) is away
    assert is_told_away({"state": state.value, "reason": reason}) is away and is_told_away(None)


def test_the_gateway_of_a_board_that_is_away_may_change_it_before_its_answer_is_due() -> None:
    before = NodeProgress("board-a", NodeState.WAITING, manifest_version=3)
    kept = progress.sent(before, 7, is_away=True)
    assert (kept.state, kept.touched_us, kept.due_us) == (NodeState.WAITING, 7, 0)
    sent = progress.sent(kept, 9)
    assert (sent.state, sent.touched_us) == (NodeState.SENT, 7) and sent.due_us > 9
