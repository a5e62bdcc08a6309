"""The coordinator's end of node links: the WebSocket shell around `protocol.session.CoordinatorSession`."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.auth import authenticate_link
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import MEDIA_TYPE, Problem
from eyeflow.protocol.messages import Manifest, Message, decode_message, encode_message
from eyeflow.protocol.session import (
    Applied,
    Close,
    Connected,
    CoordinatorSession,
    NeedPrograms,
    Offer,
    Output,
    Recollected,
    Seen,
    Send,
    Told,
)
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

_Fetched = tuple[int, str]


async def link_endpoint(websocket: WebSocket) -> None:
    """Serve `/api/link`: authenticate in the handshake, then run the session until either side closes."""
    hub: Hub = websocket.app.state.hub
    refusal = _refusal(websocket)
    node = None
    if refusal is None:
        node = authenticate_link(hub.store, hub.challenges, websocket.headers.get("authorization"), hub.clock())
        refusal = (
            None if node is not None else Problem("unauthenticated", "The link's signature or nonce is not valid.")
        )
    if refusal is not None:
        await websocket.send_denial_response(JSONResponse(refusal.body(), refusal.status, media_type=MEDIA_TYPE))
        return
    assert node is not None
    await websocket.accept()
    offer = hub.fleet.offer(node)  # only now: what changed during the handshake must not be missed
    if offer is None:
        await websocket.close(CLOSE_APPLICATION, "removed: the node was removed from the cluster")
        return
    await _Link(hub, websocket, node, offer).run()


def _refusal(websocket: WebSocket) -> Problem | None:
    """Nodes send no Origin; a browser does, and then it must be this server's own."""
    origin = websocket.headers.get("origin")
    if origin is None or urlsplit(origin).netloc == websocket.headers.get("host"):
        return None
    return Problem("wrong_origin", f"The link was opened by a page of {origin[:200]}.")


class _Link:
    """One open link. Satisfies `hub.OpenLink`."""

    def __init__(self, hub: Hub, websocket: WebSocket, node: str, offer: Offer) -> None:
        self.node = node
        self._hub = hub
        self._websocket = websocket
        self._session = CoordinatorSession(node, hub.own, offer, known=hub.fleet.heads.of(node).head)
        self._outbox: asyncio.Queue[Message | _Fetched | Close] = asyncio.Queue()
        self._credit, self._paced_s = float(BURST_MESSAGES_MAX), 0.0

    async def run(self) -> None:
        self._hub.attach(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read())
                await self._write()
                reader.cancel()
        finally:
            self._hub.detach(self)

    def offer(self, offer: Offer) -> None:
        self._act(self._session.offer(offer))

    def close(self, code: str, reason: str) -> None:
        self._outbox.put_nowait(Close(code, reason))

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                self._take(await self._websocket.receive_bytes())
            while True:
                await self._keep_pace()
                self._take(await self._websocket.receive_bytes())
        except TimeoutError:
            self.close("no_hello", f"no HELLO within {HELLO_S} s")
        except KeyError:
            self.close("protocol", "a text message where binary ones are spoken")
        except ProtocolError as error:
            self._hub.fleet.troubled(self.node, error.message, self._hub.clock())
            self.close("protocol", error.message)
        except EyeflowError as error:
            self.close("storage", error.message)
        except (WebSocketDisconnect, RuntimeError):
            self.close("gone", "the node closed the link")

    async def _keep_pace(self) -> None:
        """Let a node that floods wait. Unread messages fill its connection; when our pings get no answer, it ends."""
        now_s = asyncio.get_running_loop().time()
        earned = (now_s - self._paced_s) * MESSAGES_PER_S_MAX
        self._credit, self._paced_s = min(BURST_MESSAGES_MAX, self._credit + earned) - 1, now_s
        if self._credit < 0:
            await asyncio.sleep(-self._credit / MESSAGES_PER_S_MAX)

    def _take(self, data: bytes) -> None:
        if self._hub.links.get(self.node) is not self:
            return  # a newer link took over: what is still on its way here is of another time, maybe of another copy
        self._act(self._session.receive(decode_message(data)))
        self._hub.send_manifests()

    def _act(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            self._act_once(output)

    def _act_once(self, output: Output) -> None:
        hub, now_us = self._hub, self._hub.clock()
        if isinstance(output, Send):
            self._put(output.message)
            if isinstance(output.message, Manifest):
                hub.fleet.manifest_sent(self.node, self._session.offered_version, now_us)
        elif isinstance(output, Close):
            hub.fleet.troubled(self.node, output.reason, now_us)
            self.close(output.code, output.reason)
        elif isinstance(output, Connected):
            hub.fleet.said_hello(self.node, output.hello, now_us)
        elif isinstance(output, Applied):
            hub.fleet.applied(self.node, output.result, now_us)
        elif isinstance(output, Seen):
            hub.saw(self.node, output.status)
        elif isinstance(output, Told):
            hub.fleet.told(self.node, output.head, now_us)
        elif isinstance(output, Recollected):
            hub.fleet.recollected(self.node, output.known, output.hash, now_us)
        elif isinstance(output, NeedPrograms):
            for program_id in output.program_ids:
                self._put((output.manifest_version, program_id))

    def _put(self, item: Message | _Fetched) -> None:
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
                for message in self._messages(item):
                    await self._websocket.send_bytes(encode_message(message))
            except (WebSocketDisconnect, RuntimeError):
                return

    def _messages(self, item: Message | _Fetched) -> list[Message]:
        """A fetched program is read from the store only when its turn to be sent has come."""
        if not isinstance(item, tuple):
            return [item]
        version, program_id = item
        outputs = self._session.deliver(version, {program_id: self._hub.registry.program_bytes(program_id)})
        return [output.message for output in outputs if isinstance(output, Send)]

    async def _say_goodbye(self, why: Close) -> None:
        if self._websocket.application_state is not WebSocketState.CONNECTED or why.code == "gone":
            return
        reason = f"{why.code}: {why.reason}".encode()[:REASON_BYTES_MAX].decode("utf-8", "ignore")
        try:
            await self._websocket.close(CLOSE_APPLICATION, reason)
        except (WebSocketDisconnect, RuntimeError):
            return
