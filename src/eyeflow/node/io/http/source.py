"""`on http "/hooks/door"`: a webhook server. 202 is sent after the rules' work on the event is recorded."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.net.listener import tcp_socket
from eyeflow.net.places import Limits
from eyeflow.node.backoff import Backoff
from eyeflow.node.config.tables import secret
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.payloads import UnreadablePayload, decode_object
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.svm.addresses import PATH_CHARACTERS_MAX, requested_path

if TYPE_CHECKING:  # the libraries load when a rule listens: see `_load`
    from starlette.requests import Request
    from starlette.responses import Response

REQUESTS_MAX = 256
"""Requests served at the same time; one more gets 503 with Retry-After."""
LIMITS = Limits(connections_max=512, per_address_max=256)
"""Connections. Half of them for one address: a proxy in front of the node has one, and so has a flood."""
SHUTDOWN_TIMEOUT_S = 2
IDLE = "no rule listens"
BODY_S = 10.0
"""Bound of sending one body: slow senders do not keep the places of others."""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""All are routed here, so that a wrong one is answered with our 405."""


class HttpSource:
    """Serves POST on the paths of its subscriptions, from the first subscription on. `port` is the bound port."""

    def __init__(
        self,
        config: HttpServerConfig,
        clock: NowUs = wall_clock_us,
        backoff: Backoff | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._config = config
        self._clock = clock
        self._limits = limits
        self._backoff = backoff or Backoff()
        self._token = secret("http", config.token_env, config.token_file)
        self._by_path: dict[str, list[Subscription]] = {}
        self._wanted = asyncio.Event()
        self._serving = 0
        self._deliver: Deliver | None = None
        self.port = 0
        self.status = PortStatus("http", "up", IDLE, counters={"accepted": 0, "refused": 0})

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`."""
        self._by_path = {}
        for subscription in subscriptions:
            self._by_path.setdefault(subscription.address, []).append(subscription)
        if self._by_path:
            self._wanted.set()
            return
        self._wanted.clear()
        if self.status.state == "failed":  # a port that nobody needs is no fault
            self.status.state, self.status.detail = "up", IDLE

    def bind(self) -> socket.socket:
        """Return the listening socket; raises EyeflowError `port_in_use` when another process has the port."""
        try:
            return tcp_socket(self._config.host, self._config.port)
        except OSError as error:
            raise EyeflowError(
                f"cannot listen for webhooks on {self._config.host}:{self._config.port}",
                cause=why(error),
                next_step="Stop the process that has the port, or set another `port` (0: any) in [http].",
                code="port_in_use",
            ) from error

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        self._deliver = deliver
        while True:
            await self._wanted.wait()
            await asyncio.to_thread(_load)
            if not self._wanted.is_set():  # the last rule went meanwhile: a port that nobody needs is no fault
                continue
            try:
                listener = self.bind()
            except EyeflowError as error:
                delay_s = self._backoff.next_s()
                self.status.state = "failed"
                self.status.detail = f"{error.brief}; next attempt in {delay_s:.1f}s"
                await asyncio.sleep(delay_s)
                continue
            with listener:
                await self._serve(listener)

    async def _serve(self, listener: socket.socket) -> None:
        from starlette.applications import Starlette
        from starlette.routing import Route

        from eyeflow.net.server import Server, http_config

        listener.listen()  # from here on senders wait for the server; without it they are refused until it has started
        self.port = listener.getsockname()[1]
        self.status.state, self.status.detail = "up", f"listening on {self._config.host}:{self.port}"
        self._backoff.reset()
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=METHODS)])
        config = http_config(app, lifespan="off", ws="none", timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S)
        server = Server(config, "webhooks", self._limits)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True  # requests under way get their answer, as far as the time for it goes
            await serving
            raise

    async def _answer(self, request: Request) -> Response:
        if self._serving >= REQUESTS_MAX:
            return self._refuse(503, "too many requests at once", {"Retry-After": "1"})
        self._serving += 1
        try:
            return await self._handle(request)
        except asyncio.CancelledError:  # the node stops; unrecorded, the event is its sender's again
            return self._refuse(503, "the node is stopping", {"Retry-After": "5"})
        finally:
            self._serving -= 1

    async def _handle(self, request: Request) -> Response:
        from starlette.requests import ClientDisconnect

        path = requested_path(request.scope["raw_path"])
        subscriptions = self._by_path.get(path)
        if not self._is_authorized(request):
            return self._refuse(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if subscriptions is None:
            return self._refuse(404, f"no rule listens on {path[:PATH_CHARACTERS_MAX]}")
        if request.method != "POST":
            return self._refuse(405, "a webhook takes POST", {"Allow": "POST"})
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._body(request)
        except ClientDisconnect:
            return self._refuse(400, "the body is incomplete")
        except TimeoutError:
            return self._refuse(408, f"the body did not come within {BODY_S:g}s", {"Connection": "close"})
        if body is None:
            return self._refuse(413, f"the body has more than {self._config.body_bytes_max} bytes")
        return await self._hand_over(subscriptions, body)

    def _is_authorized(self, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        return not self._token or hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode())

    async def _body(self, request: Request) -> bytes | None:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._config.body_bytes_max:
                return None
        return bytes(body)

    async def _hand_over(self, subscriptions: list[Subscription], body: bytes) -> Response:
        from starlette.responses import JSONResponse

        rejected, payload = "", {}
        try:
            payload = dict(decode_object(body, self._config.body_bytes_max))
        except UnreadablePayload as error:
            rejected = str(error)
        try:
            async with asyncio.timeout(self._config.done_timeout_s):
                had_room = await self._deliver_all(subscriptions, payload, rejected)
        except TimeoutError:
            return self._refuse(503, "the event was not recorded in time; it may be later", {"Retry-After": "5"})
        if not had_room:
            return self._refuse(503, "the node's buffer is full", {"Retry-After": "60"})
        if rejected:
            return self._refuse(400, rejected)
        self.status.counters["accepted"] += 1
        return JSONResponse({"accepted": len(subscriptions)}, 202)

    async def _deliver_all(self, subscriptions: list[Subscription], payload: dict[str, object], rejected: str) -> bool:
        """Return once all is recorded, or False when the node had no room to record it."""
        assert self._deliver is not None, "requests come only after run was called"
        now_us = self._clock()
        recorded: list[asyncio.Future[bool]] = [asyncio.get_running_loop().create_future() for _ in subscriptions]
        for subscription, one in zip(subscriptions, recorded, strict=True):
            done, refused = partial(_tell_recorded, one, True), partial(_tell_recorded, one, False)
            await self._deliver(IncomingEvent(subscription, payload, now_us, done, rejected, refused=refused))
        return all(await asyncio.gather(*recorded))

    def _refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
        from starlette.responses import JSONResponse

        self.status.counters["refused"] += 1
        titles = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
        titles |= {408: "Request Timeout", 413: "Content Too Large", 503: "Service Unavailable"}
        problem = {"type": "about:blank", "title": titles[status], "status": status, "detail": detail}
        return JSONResponse(problem, status, headers, media_type="application/problem+json")


def _load() -> None:
    """Load the web server. In a thread, because it takes a second on a small machine, and other rules run meanwhile."""

    import eyeflow.net.server  # noqa: F401 - loaded for `_serve`


def _tell_recorded(future: asyncio.Future[bool], had_room: bool) -> None:
    if not future.done():  # the request may have ended for want of an answer
        future.set_result(had_room)
