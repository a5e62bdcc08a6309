"""GET /api/nodes/{id}/lines: the gateway of a board is asked what it logs; who cannot tell, why, and for how long."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, log_line, plugged_in
from components.waiting import running
from eyeflow.coordinator import lines_api, link_questions
from eyeflow.coordinator.schema import check
from eyeflow.node.cluster import link as node_link
from eyeflow.node.daemon import run_node
from eyeflow.protocol import lines as n
from eyeflow.protocol.outputs import Hear

from .test_boards import configured, stand

LINES = (n.BoardLine(1_000, 9, 2, "door open"), n.BoardLine(1_001, 10, 0, "", ("is it hot?",)))


async def told(client: Any, since: int | None = None, name: str = "node-mcu-01") -> Any:
    return await client.get(f"/api/nodes/{name}/lines", params={} if since is None else {"since": since}, timeout=60)


def why(reply: Any) -> str:
    assert (reply.status_code, reply.json()["code"]) == (409, "board_unheard"), reply.text
    return str(reply.json()["detail"])


def test_a_board_behind_a_daemon_is_heard_through_the_coordinator(cluster: Any, make: Any, tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with cluster.coordinator() as client:
            config = await configured(client, cluster, tmp_path, path)
            async with running(run_node(config, stop=asyncio.Event())):
                await stand(client, make, "online", "answers")
                board.once.append(log_line("door open", 2))
                found: list[Any] = []

                async def is_heard() -> bool:
                    found[:] = (await told(client)).json().get("lines", ())  # the link may begin anew at first
                    return bool(found)

                await make.until(is_heard, "the line is here")
                assert [(one["level"], one["text"], one["asks"]) for one in found] == [(2, "door open", [])]
                following = found[-1]["number"] + 1
                nothing = {"lines": [], "next": following, "missed": 0}
                await make.until(partial(is_told, client, nothing, following), "nothing came since")
                board.ask(7, 0, "what the probe says", "is it hot?")
                page: dict[str, Any] = {}

                async def is_asking() -> bool:
                    page.update((await told(client, following)).json())
                    return bool(page.get("lines"))

                await make.until(is_asking, "what came since is here, and nothing else")
                assert page["lines"][0]["asks"] == ["what the probe says", "is it hot?"]
                assert page["next"] == page["lines"][-1]["number"] + 1
                none = "gateway cannot tell what it logs: it is no board; only boards behind nodes have lines."
                await make.until(partial(is_refused, client, none, "gateway"), "a node says that it is none")
            await stand(client, make, "unknown", "gateway_lost")
            assert "its gateway gateway has no link; before that it was online" in why(await told(client))
            assert "it has no link; only boards" in why(await told(client, name="gateway"))

    with plugged_in(board) as path:
        asyncio.run(test(path))


async def is_told(client: Any, page: Any, since: int) -> bool:
    return bool((await told(client, since)).json() == page)


async def is_refused(client: Any, detail: str, name: str) -> bool:
    return bool((await told(client, name=name)).json().get("detail") == detail)


async def linked(cluster: Any, make: Any, client: Any) -> Any:
    node = make.control("node-a", lines=LINES)
    await cluster.join(client, node)
    cluster.dial(node)

    async def is_up() -> bool:
        return bool(cluster.links["node-a"].status.state == "up")

    await make.until(is_up, "the link is up")
    return node


def test_an_answer_is_passed_on_as_it_is(cluster: Any, make: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            await linked(cluster, make, client)
            page = (await told(client, 1_000, "node-a")).json()
            assert (page["next"], page["missed"], check("BoardLines", page)) == (1_002, 3, [])
            assert page["lines"][0] == {"number": 1_000, "timeUs": 9, "level": 2, "text": "door open", "asks": []}
            (only,) = (await told(client, 1_001, "node-a")).json()["lines"]
            assert only["asks"] == ["is it hot?"]
            assert (await told(client, name="nobody")).status_code == 404
            assert (await client.get("/api/nodes/node-a/lines?since=-1")).status_code == 422
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_node_of_an_older_protocol_is_not_asked(cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_link, "PROTOCOL_VERSION_MAX", 2)

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            await linked(cluster, make, client)
            assert "it is too old: it speaks no protocol version that has the lines" in why(
                await told(client, name="node-a")
            )
            await cluster.hang_up_all()

    asyncio.run(scenario())


def test_a_gateway_that_does_not_answer_is_waited_for_no_longer(
    cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by who waits for its turn behind others."""
    monkeypatch.setattr(link_questions, "LISTEN_S", 0.5)

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            node = await linked(cluster, make, client)
            act = node_link.CoordinatorLink._act
            monkeypatch.setattr(node_link.CoordinatorLink, "_act", deaf)
            found = await asyncio.gather(*(told(client, name="node-a") for _ in range(4)))
            assert {why(one).partition(": ")[2] for one in found} == {
                "it did not answer within 0.5 s; only boards behind nodes have lines."
            }
            monkeypatch.setattr(node_link.CoordinatorLink, "_act", act)
            monkeypatch.setattr(link_questions, "LISTEN_S", 60)
            assert (await told(client, name="node-a")).json()["next"] == 1_002
            assert node.lines == LINES
            await cluster.hang_up_all()

    asyncio.run(scenario())


_ACT = node_link.CoordinatorLink._act


async def deaf(self: Any, connection: Any, session: Any, outputs: Any) -> None:
    """A node that answers no question for lines."""
    await _ACT(self, connection, session, tuple(one for one in outputs if not isinstance(one, Hear)))


def test_how_many_ask_and_how_often_is_bounded(cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_api, "LISTENERS_MAX", 2)
    monkeypatch.setattr(link_questions, "LISTEN_S", 600)

    async def scenario() -> None:
        async with cluster.coordinator() as client:
            await linked(cluster, make, client)
            began_s = asyncio.get_running_loop().time()
            for _ in range(4):
                assert (await told(client, name="node-a")).status_code == 200
            assert asyncio.get_running_loop().time() - began_s > 2.9 * link_questions.LISTEN_EVERY_S
            monkeypatch.setattr(node_link.CoordinatorLink, "_act", deaf)
            asked = [asyncio.create_task(told(client, name="node-a")) for _ in range(3)]
            done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            (refused,) = [one.result() for one in done]
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_listeners"), refused.text
            assert refused.headers["retry-after"] == "1"
            monkeypatch.setattr(lines_api, "LISTENERS_MAX", 4)
            await cluster.join(client, make.control("node-b"))
            assert "it has no link" in why(await told(client, name="node-b")), "the listeners of one keep nobody off"
            monkeypatch.setattr(lines_api, "OF_BOARD_MAX", 2)
            assert (await told(client, name="node-a")).status_code == 429
            await cluster.hang_up_all()
            for one in await asyncio.gather(*waiting):
                assert "its link ended before it had answered" in why(one)

    asyncio.run(scenario())
