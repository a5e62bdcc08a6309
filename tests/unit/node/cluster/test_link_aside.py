"""A manifest that is carried out beside the link, as that of a board: no failure of it leaves the link up in silence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from components.node_sim import NodeSim, program
from eyeflow.base.errors import EyeflowError
from eyeflow.node.cluster.link import CLOSE_BYTES_MAX, CoordinatorLink
from eyeflow.node.cluster.membership import JoinResult, Membership
from eyeflow.protocol.messages import ManifestEntry, WantedManifest
from eyeflow.protocol.outputs import Apply
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode

RULE = 'rule r {\n version "1.0.0"\n on every 1s\n log.info("a")\n}\n'


class Connection:
    """Takes note of how it was closed."""

    closed: tuple[int, str] | None = None

    async def close(self, code: int, reason: str) -> None:
        assert len(reason.encode()) <= CLOSE_BYTES_MAX
        self.closed = code, reason


@pytest.mark.parametrize("error", [RuntimeError("a bug"), EyeflowError("the disk is full: " + "\u4e00" * 100)])
def test_a_manifest_that_fails_closes_the_link_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(*what: object) -> None:
        raise error

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        monkeypatch.setattr(sim.node, "install", fails)
        link = CoordinatorLink(sim.node, Membership(tmp_path / "cluster"), applies_aside=True)
        data = program(RULE)
        wanted = ManifestEntry("r", decode(data).program_id, "d", (), Slot.ACTIVE)
        manifest = WantedManifest("c" * 64, "sim", 1, 1, (wanted,))
        session = link._session(JoinResult("http://127.0.0.1:1", "sim", "c" * 64, bytes(32), ()))
        output = Apply(manifest, bytes(32), {wanted.program_id: data}, frozenset())
        connection = Connection()
        await link._apply_aside(cast(Any, connection), session, output)
        assert connection.closed is not None and connection.closed[0] == 1011
        assert ("a bug" if isinstance(error, RuntimeError) else "the disk is full") in connection.closed[1]
        await sim.stop()

    asyncio.run(test())
