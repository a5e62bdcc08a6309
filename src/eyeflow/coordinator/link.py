"""The coordinator's end of node links: the WebSocket shell around `protocol.session.CoordinatorSession`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import code_of_close
from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.boards import is_away
from eyeflow.coordinator.challenges import authenticate_link
from eyeflow.coordinator.collecting import Collector
from eyeflow.coordinator.credentials import check_origin
from eyeflow.coordinator.fitness import BOARD_PROFILE
from eyeflow.coordinator.histories import Contradiction
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.link_questions import Listens, Replays, UnaskedError
from eyeflow.coordinator.problem import MEDIA_TYPE, Problem
from eyeflow.protocol.certificates import facts
from eyeflow.protocol.collecting import Collect
from eyeflow.protocol.lines import Listened
from eyeflow.protocol.messages import Head, Manifest, Message, Status
from eyeflow.protocol.node_facts import facts_in
from eyeflow.protocol.opening import Opening
from eyeflow.protocol.outputs import (
    Applied,
    Behind,
    Close,
    Compared,
    Connected,
    Gathered,
    Heard,
    NeedPrograms,
    Noted,
    Output,
    Recollected,
    Seen,
    Send,
    Told,
)
from eyeflow.protocol.replays import ReplayProgram, ReplayResult
from eyeflow.protocol.session import CoordinatorSession, Offer
from eyeflow.protocol.wire import ProtocolError

HELLO_S = 10
"""A link that says nothing within this time is closed."""
OUTBOX_MAX = 2048
"""Messages waiting for one node; a node that is slower than this is cut off and comes back."""
MESSAGES_PER_S_MAX = 100
"""How fast the messages of one node are read for long. A node sends one each few seconds; each costs others time."""
BURST_MESSAGES_MAX = 500
"""How many messages of one node are read at once, after a quiet time."""
CLOSE_APPLICATION = 4000
"""WebSocket close code of every close that carries one of our reasons (RFC 6455 7.4.2: private use)."""
REASON_BYTES_MAX = 120

CERTIFICATE = "get one for this node with POST /api/link/certificate"

_Fetched = tuple[int, str]


async def link_endpoint(websocket: WebSocket) -> None:
    """Serve `/api/link`: authenticate in the handshake, then run the session until either side closes."""
    hub: Hub = websocket.app.state.hub
    refusal = node = None
    try:
        check_origin(websocket)
    except Problem as problem:
        refusal = problem
    if refusal is None:
        authorization = websocket.headers.get("authorization")
        node = await authenticate_link(hub.store, hub.challenges, authorization, hub.clock())
        refusal = _unproven(hub, websocket, node)
    if refusal is not None:
        if refusal.status == 401:
            await hub.refusals.pause(websocket.client.host if websocket.client else "")
        await websocket.send_denial_response(JSONResponse(refusal.body(), refusal.status, media_type=MEDIA_TYPE))
        return
    assert node is not None
    await websocket.accept()
    await _Link(hub, websocket, node).run()


def _unproven(hub: Hub, websocket: WebSocket, node: str | None) -> Problem | None:
    """Return why the peer is not `node`. With a CA of its own the coordinator wants both: signature and certificate."""
    if node is None:
        return Problem("unauthenticated", "The link's signature or nonce is not valid.")
    if hub.tls is None:
        return None
    shown: list[str] = websocket.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", [])
    if not shown:
        return Problem("bad_certificate", "The link has no certificate.", CERTIFICATE)
    known = facts(shown[0])  # TLS has checked the chain
    if known.common_name != node:
        return Problem("bad_certificate", f"The certificate names {known.common_name[:64]}.", CERTIFICATE)
    if not known.is_valid(hub.clock()):
        return Problem("bad_certificate", "The certificate has expired.", CERTIFICATE)
    return None


MANIFEST_REFUSED = "manifest_rollback"
"""With this code a node closes a link on which a manifest contradicts the one that it has."""
NEXT_STEP = (
    ". The node runs on as it is. To send it what the coordinator knows: eyeflow nodes accept {node}, or for all such "
    "nodes --ahead. Was the store restored from an old copy? Then deploy first what nodes shall run"
)
"""What to do about a node that has a newer manifest. An old copy of the store alone takes nothing back from nodes."""


class _Link:
    """One open link. Satisfies `hub.OpenLink`. `_acting` keeps what follows from one message or offer together."""

    def __init__(self, hub: Hub, websocket: WebSocket, node: str) -> None:
        self.node = node
        self._hub = hub
        self._websocket = websocket
        self._session: CoordinatorSession | None = None
        self._newest: Offer | None = None
        self._offered = asyncio.Event()
        self._acting = asyncio.Lock()
        self._outbox: asyncio.Queue[bytes | _Fetched | Close] = asyncio.Queue()
        self._replays, self._listens = Replays(), Listens()
        self._collector = Collector(hub.copies, self._collect, self._contradicted, self._misspoke, self._renew)
        self.is_away = False
        """Whether it is the link of a board that does not answer its gateway."""
        self._head: Head | None = None
        self._dialled = (websocket.client.host if websocket.client else "", hub.clock())
        """The address that the node came from, and when."""
        self._credit, self._paced_s = float(BURST_MESSAGES_MAX), 0.0

    async def run(self) -> None:
        await self._hub.attach(self)
        try:
            await self.open()
            async with asyncio.TaskGroup() as tasks:
                working = [tasks.create_task(self._read()), tasks.create_task(self._send_offers())]
                await self._write()
                for task in working:
                    task.cancel()
        finally:
            self._replays.link_ended()
            self._listens.link_ended()
            self._collector.stop()
            await self._hub.detach(self)

    async def open(self) -> None:
        """Begin the session. The link is attached already, so that no manifest is missed that comes meanwhile."""
        try:
            known = (await self._hub.nodes.link_opens(self.node)).head
            ahead = await self._hub.store.read(lambda reading: reading.ahead(self.node))
            offer = await self._hub.offer(self.node)
        except EyeflowError as error:
            self.close("storage", error.message)
            return
        if offer is None:
            self.close("removed", "the node was removed from the cluster")
            return
        self._session = CoordinatorSession(self.node, self._hub.own, offer, known, ahead)

    def offer(self, offer: Offer) -> None:
        self._newest = offer
        self._offered.set()

    def stop_collecting(self) -> None:
        self._collector.stop()

    def close(self, code: str, reason: str) -> None:
        self._outbox.put_nowait(Close(code, reason))

    async def replay(
        self, programs: Sequence[ReplayProgram], since_us: int, seconds_max: int
    ) -> tuple[ReplayResult, ...]:
        return await self._replays.ask(self._ready, self._put, programs, since_us, seconds_max)

    async def listen(self, since: int | None) -> Listened:
        return await self._listens.ask(self._ready, self._put, since)

    @property
    def _ready(self) -> CoordinatorSession:
        if self._session is None:
            raise UnaskedError("its link is not up yet")
        return self._session

    async def _send_offers(self) -> None:
        """Each link does this in a task of its own: what they store together becomes one commit."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            async with self._acting:
                if self._session is not None and self._newest is not None:
                    await self._bear(self._act(self._session.offer(self._newest)))

    async def _bear(self, work: Awaitable[None]) -> None:
        """Close the link when the store fails: the node comes back and hears what it should have heard."""
        try:
            await work
        except EyeflowError as error:
            self.close("storage", error.message)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                data = await self._websocket.receive_bytes()
            while True:
                await self._take(data)
                await self._keep_pace()
                data = await self._websocket.receive_bytes()
        except TimeoutError:
            self.close("no_hello", f"no HELLO within {HELLO_S} s")
        except KeyError:
            self.close("protocol", "a text message where binary ones are spoken")
        except ProtocolError as error:
            await self._misspoke(error)
        except EyeflowError as error:
            self.close("storage", error.message)
        except (WebSocketDisconnect, RuntimeError) as error:
            await self._left(code_of_close(error))

    async def _left(self, code: str) -> None:
        """The node closed the link."""
        if code == MANIFEST_REFUSED and self._session is not None and self._is_current:
            await self._bear(self._act(self._session.refused()))
        self.close("gone", "the node closed the link")

    async def _misspoke(self, error: ProtocolError) -> None:
        await self._bear(self._hub.nodes.troubled(self.node, error.message, self._hub.clock()))
        self.close("protocol", error.message)

    async def _keep_pace(self) -> None:
        """Let a node that floods wait. Unread messages fill its connection; when our pings get no answer, it ends."""
        now_s = asyncio.get_running_loop().time()
        earned = (now_s - self._paced_s) * MESSAGES_PER_S_MAX
        self._credit, self._paced_s = min(BURST_MESSAGES_MAX, self._credit + earned) - 1, now_s
        if self._credit < 0:
            await asyncio.sleep(-self._credit / MESSAGES_PER_S_MAX)

    @property
    def _is_current(self) -> bool:
        """Whether no newer link took over: what is still on its way here is of another time, maybe of another copy."""
        return self._hub.links.get(self.node) is self

    async def _take(self, data: bytes) -> None:
        async with self._acting:
            if self._is_current and self._session is not None:
                await self._act(self._session.receive(self._session.read(data)))

    async def _act(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            await self._act_once(output)

    async def _act_once(self, output: Output) -> None:
        hub, now_us = self._hub, self._hub.clock()
        if isinstance(output, Send):
            await self._send(output.message)
        elif isinstance(output, Behind):
            await hub.nodes.is_ahead(self.node, output.manifest_version, hub.clock())
        elif isinstance(output, Close):
            what_to_do = NEXT_STEP.format(node=self.node) if output.code == "manifest_ahead" else ""
            await hub.nodes.troubled(self.node, output.reason + what_to_do, now_us)
            self.close(output.code, output.reason)
        elif isinstance(output, Connected):
            await self._connected(output, now_us)
        elif isinstance(output, Applied):
            await hub.deployments.reported(self.node, output.result, now_us)
        elif isinstance(output, Seen):
            await self._saw(output.status, now_us)
        elif isinstance(output, Noted):
            hub.cases.told(self.node, output.executions)
        elif isinstance(output, Compared | Heard | Gathered):
            self._answered(output)
        elif isinstance(output, Told):
            await hub.nodes.told(self.node, output.head, now_us, *self._dialled)
            self._head = output.head
            await self._begin_to_collect()
        elif isinstance(output, Recollected):
            await hub.nodes.recollected(self.node, output.known, output.hash, now_us)
            await self._begin_to_collect()
        elif isinstance(output, NeedPrograms):
            for program_id in output.program_ids:
                self._put((output.manifest_version, program_id))

    def _answered(self, output: Compared | Heard | Gathered) -> None:
        if isinstance(output, Compared):
            self._replays.answered(output.replayed)
        elif isinstance(output, Heard):
            self._listens.answered(output.listened)
        else:
            self._collector.came(output.collected)

    async def _connected(self, output: Connected, now_us: int) -> None:
        await self._hub.nodes.said_hello(self.node, output.hello, output.protocol, now_us)
        told = facts_in(output.hello)
        # A board is away until its gateway tells that it answers.
        self.is_away = told is not None and told.profile == BOARD_PROFILE
        if not self.is_away:
            await self._hub.deployments.linked(self.node, now_us)
        await self._welcome()

    async def _saw(self, status: Status, now_us: int) -> None:
        """A board that is away counts for deployments as a node without a link, although its gateway speaks for it."""
        self._hub.nodes.saw(self.node, status, now_us)
        if status.board is None:
            return
        was_away, self.is_away = self.is_away, is_away(status.board.state.value, status.board.reason)
        if self.is_away and not was_away:
            await self._hub.deployments.lost([self.node], now_us)
        elif was_away and not self.is_away and self._session is not None:
            await self._hub.deployments.linked(self.node, now_us)
            await self._hub.deployments.sent(self.node, self._session.offered_version, now_us)

    async def _begin_to_collect(self) -> None:
        """Nothing of a node in doubt is merged: nobody knows which copy it is of."""
        hub, head = self._hub, self._head
        if head is None:
            return
        hub.copies.told(self.node, head.epoch, head.seq)
        if hub.nodes.is_doubtful(self.node):
            self.stop_collecting()
        elif self._session is not None and self._session.collects and not self._collector.works:
            record = await hub.store.read(lambda reading: reading.node(self.node))
            if record is not None:
                self._collector.begin(Owner(self.node, head.epoch, record.public_key))

    def _collect(self, ask: Collect) -> None:
        if self._session is not None and self._is_current:
            for output in self._session.collect(ask):
                if isinstance(output, Send):
                    self._put(self._session.write(output.message))

    def _renew(self) -> None:
        self.close("archive", "the coordinator begins its copy of the audit anew")

    async def _contradicted(self, found: Contradiction) -> None:
        if self._is_current:
            await self._hub.nodes.contradicted(self.node, found, self._hub.clock())

    async def _welcome(self) -> None:
        """Offer what the store has now: HELLO may have asked for a manifest in the form of another version."""
        offer = await self._hub.offer(self.node)
        if offer is None or self._session is None:
            self.close("removed", "the node was removed from the cluster")
        else:
            await self._act(self._session.welcome(offer))

    async def _send(self, message: Message | Opening) -> None:
        """A manifest goes out only after it is stored that it does: from then on the node may have changed."""
        if self._session is None:
            return
        if isinstance(message, Manifest):
            if not self._is_current:
                return
            version, now_us = self._session.offered_version, self._hub.clock()
            await self._hub.deployments.sent(self.node, version, now_us, is_away=self.is_away)
        self._put(self._session.write(message))

    def _put(self, item: bytes | _Fetched) -> None:
        if self._outbox.qsize() >= OUTBOX_MAX:
            self._outbox = asyncio.Queue()
            self.close("too_slow", "the node takes messages too slowly")
        else:
            self._outbox.put_nowait(item)

    async def _write(self) -> None:
        while True:
            item = await self._outbox.get()
            if isinstance(item, Close):
                await self._say_goodbye(item)
                return
            try:
                for data in await self._bytes_of(item):
                    await self._websocket.send_bytes(data)
            except EyeflowError as error:
                self.close("storage", error.message)
            except (WebSocketDisconnect, RuntimeError):
                return

    async def _bytes_of(self, item: bytes | _Fetched) -> list[bytes]:
        """A fetched program is read from the store only when its turn to be sent has come."""
        if not isinstance(item, tuple):
            return [item]
        version, program_id = item
        program = await self._hub.store.read(lambda reading: reading.program_bytes(program_id))
        if self._session is None:
            return []
        outputs = self._session.deliver(version, {program_id: program})
        return [self._session.write(output.message) for output in outputs if isinstance(output, Send)]

    async def _say_goodbye(self, why: Close) -> None:
        if self._websocket.application_state is not WebSocketState.CONNECTED or why.code == "gone":
            return
        reason = f"{why.code}: {why.reason}".encode()[:REASON_BYTES_MAX].decode("utf-8", "ignore")
        try:
            await self._websocket.close(CLOSE_APPLICATION, reason)
        except (WebSocketDisconnect, RuntimeError):
            return
