"""Light nodes: the real link and session of a node, over what only remembers which programs it holds.

No store, no rules, no files: a coordinator cannot tell them from others, and thousands fit into one process.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.whole_file import write_whole
from eyeflow.node.cluster.link import CoordinatorLink, _nonce
from eyeflow.node.cluster.membership import JoinResult
from eyeflow.node.control import (
    AuditHead,
    HeldProgram,
    InstallOutcome,
    InstallResult,
    NodeControl,
    NodeIdentity,
    Switch,
)
from eyeflow.node.store.types import ON_TRIAL, SlotRow, Terms
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.executions import Difference, Explained, Failure
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Evidence, InstalledRule
from eyeflow.protocol.outputs import Output
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.session import Accepted, NodeSession
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode
from eyeflow.svm.program import Value

MACHINE = {"name": "machine", "counters": {"cpu_percent": 3, "memory_bytes": 40_000_000}}


def identity_of(name: str) -> Identity:
    """Return the key of a light node: who prepares the coordinator's store knows it, too."""
    return Identity(hashlib.sha256(name.encode()).digest())


class LightMembership:
    """What a node keeps of its cluster, in memory. Satisfies what the link asks of a `Membership`."""

    def __init__(self, joined: JoinResult) -> None:
        self.directory, self.write = Path("/nowhere"), write_whole
        self._joined, self._accepted = joined, Accepted()

    def joined(self) -> JoinResult:
        return self._joined

    def accepted(self) -> Accepted:
        return self._accepted

    def accept(self, accepted: Accepted) -> None:
        self._accepted = accepted


class LightControl:
    """Satisfies `NodeControl`: every program is taken, and nothing runs."""

    def __init__(self, name: str) -> None:
        self._key = identity_of(name)
        self.identity = NodeIdentity(name, 1, self._key.public_key, "light")
        self.audit_head = AuditHead(0, bytes(32))
        self._held: dict[tuple[str, Slot], HeldProgram] = {}

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    async def install(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        return self._put(Slot.ACTIVE, program, params, manifest_version)

    async def stage(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        return self._put(Slot.CANDIDATE, program, params, manifest_version)

    def _put(self, slot: Slot, program: bytes, params: Mapping[str, Value], version: int) -> InstallResult:
        decoded = decode(program)
        rule, program_id = decoded.program.rule, decoded.program_id
        self._held[rule, slot] = HeldProgram(rule, slot, program_id, tuple(sorted(params.items())), version)
        return InstallResult(InstallOutcome.INSTALLED, rule, program_id)

    async def record_wanted(
        self, wanted: InstalledRule, deployment_id: str, manifest_version: int, terms: Terms = ON_TRIAL
    ) -> InstallResult:
        return InstallResult(InstallOutcome.UNCHANGED, wanted.rule)

    async def switch(self, switches: Sequence[Switch], manifest_version: int) -> Mapping[str, InstallResult]:
        raise AssertionError("a light node has no candidates to switch to")

    async def drop_candidate(self, rule: str, reason: str = "") -> bool:
        return self._held.pop((rule, Slot.CANDIDATE), None) is not None

    async def roll_back(self, rule: str, reason: str) -> InstallResult:
        raise AssertionError("a light node goes back to nothing")

    async def record_pass(self, rule: str, program_id: str) -> bool:
        return True

    async def settle_taken_back(self, is_wanted: Callable[[SlotRow], bool]) -> None:
        return None

    async def remove(self, rule: str) -> bool:
        gone = [self._held.pop((rule, slot), None) for slot in Slot]
        return any(gone)

    def trust(self, signers: Collection[bytes]) -> None:
        return None

    async def stop_distrusted(self) -> None:
        return None

    def held(self) -> tuple[HeldProgram, ...]:
        return tuple(self._held.values())

    def status(self) -> dict[str, object]:
        """As many parts as a real node tells of: its rules, its ports, its store, its machine."""
        counters = {"executions": 1, "acted": 1, "trapped": 0, "rejected": 0, "waiting": 0}
        rules = [
            {"rule": one.rule, "program_id": one.program_id, "state": "running", "slot": one.slot.value} | counters
            for one in self._held.values()
        ]
        ports = {name: {"state": "up", "counters": {"connects": 1}} for name in ("mqtt", "coordinator")}
        return {"rules": rules, "ports": ports, "store": {"state": "up"}, "machine": MACHINE["counters"]}

    def board_status(self) -> None:
        return None

    def evidence(self) -> tuple[Evidence, ...]:
        return ()

    def differences(self) -> tuple[Difference, ...]:
        return ()

    def failures(self) -> tuple[Failure, ...]:
        return ()

    async def explained(self, found: Sequence[Explained]) -> tuple[Explained, ...]:
        return tuple(found)

    async def replay(self, asked: Replay) -> Replayed:
        raise AssertionError("a light node has no records")

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        return 0, ()

    async def grows_beyond(self, seq: int) -> None:
        await asyncio.Future[None]()

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        return True

    async def audit_range(self, from_seq: int, limit: int) -> Sequence[bytes]:
        return ()


class LightLink(CoordinatorLink):
    """The real link. It asks for its nonce without a whole HTTP client, which costs more than the link itself.

    `stall` lets it neither read nor close from then on: its connection takes nothing more.
    """

    def __init__(self, name: str, joined: JoinResult, now_us: NowUs = wall_clock_us) -> None:
        self.control: NodeControl = LightControl(name)  # a node asks for all of it: checked by types
        membership = LightMembership(joined)
        super().__init__(self.control, membership, now_us=now_us, random=Random(name))  # type: ignore[arg-type]
        self._connection: ClientConnection | None = None
        self._is_stalled = False

    def stall(self) -> None:
        """From now on nothing is read, sent or closed: what the system has room for is all that comes here."""
        assert self._connection is not None
        self._is_stalled = True
        self._connection.transport.pause_reading()
        if self._connection.keepalive_task is not None:
            self._connection.keepalive_task.cancel()  # it would close the link

    async def _challenged(self, joined: JoinResult, context: ssl.SSLContext | None) -> bytes:
        place = urlsplit(joined.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            head = f"GET /api/link/challenge HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
        finally:
            writer.close()
        return _nonce(answer.partition(b"\r\n\r\n")[2])

    async def _open(self, joined: JoinResult, nonce: bytes, context: ssl.SSLContext | None) -> ClientConnection:
        self._connection = await super()._open(joined, nonce, context)
        return self._connection

    async def _act(self, connection: ClientConnection, session: NodeSession, outputs: tuple[Output, ...]) -> None:
        if self._is_stalled:
            await asyncio.Future()
        await super()._act(connection, session, outputs)
