"""Nodes whose connections take nothing more: the others get what is new as soon as if those were not there.

The nodes are light (`bench.light_nodes`): the real link and session, without rules. `python -m bench load` stops a
process with 100 real nodes among 1,000.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bench.crowd import Crowd
from starlette.websockets import WebSocket

from simulation import network
from simulation.loop import pass_time

NODES, STALLED = 15, 5
LOOK_S, LOOKS_MAX = 0.25, 100


@pytest.fixture(autouse=True)
def no_late_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet that is seconds late would say more of how long it took than the stalled nodes."""
    monkeypatch.setattr(network, "SLOW_SHARE", 0.0)


class Seen:
    """How the rest did: when all had the second version, and how many nodes had a link then."""

    def __init__(self) -> None:
        self.lasted_s = 0.0
        self.linked = self.away_later = 0


async def brought(crowd: Crowd, version: int) -> None:
    """Bring a version to all nodes; returns once those that are never stalled have answered that they run it."""
    deployment = await crowd.deploy(version, strategy="immediate")
    for number in range(LOOKS_MAX):
        found = await crowd.call("GET", f"/api/deployments/{deployment}")
        if all(node["state"] == "installed" for node in found["nodes"][STALLED:]):
            return
        await pass_time(LOOK_S * (1 + number // 8))
    raise AssertionError(f"they never run version {version}: {found['counts']}")


def rolled_out(directory: Path, stalled: int) -> Seen:
    """Bring two versions to all nodes, of which some are stalled."""
    seen = Seen()

    async def scenario() -> None:
        await crowd.start()
        await crowd.link_all()
        crowd.network.window_bytes = 0
        for link in list(crowd.links.values())[:stalled]:
            link.stall()
        began_s = crowd.loop.time()
        for version in (1, 2):  # what is sent first, a connection takes; the next has to wait
            await brought(crowd, version)
        seen.lasted_s = crowd.loop.time() - began_s
        seen.linked = (await crowd.call("GET", "/api/status"))["connected"]
        await pass_time(90.0)
        seen.away_later = NODES - (await crowd.call("GET", "/api/status"))["connected"]

    crowd = Crowd(directory, [f"node-{number:02}" for number in range(NODES)])
    crowd.run(scenario())
    return seen


def test_stalled_nodes_hold_up_nobody(tmp_path: Path) -> None:
    """All others have both versions while the stalled ones still have their links, which are given up later."""
    with_them, without = rolled_out(tmp_path / "with", STALLED), rolled_out(tmp_path / "without", 0)
    assert with_them.linked == NODES
    assert with_them.lasted_s <= 1.5 * without.lasted_s + LOOK_S, (with_them.lasted_s, without.lasted_s)
    assert (with_them.away_later, without.away_later) == (STALLED, 0)


def test_control_one_send_after_the_other_holds_up_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were each send awaited before the next one, to whichever node, the rest would wait until the stalled are gone."""
    sending, send = asyncio.Lock(), WebSocket.send_bytes

    async def one_after_the_other(self: WebSocket, data: bytes) -> Any:
        async with sending:
            await send(self, data)

    monkeypatch.setattr(WebSocket, "send_bytes", one_after_the_other)
    assert rolled_out(tmp_path, STALLED).linked < NODES
