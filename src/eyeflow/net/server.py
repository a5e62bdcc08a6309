"""uvicorn with what it lacks for strangers: bounded connections, a time for the head of a request, a log with a peer.

uvicorn bounds neither connections nor the time in which a head must come. It stays, since only its edges are wrong:
`Listener` accepts in its place, and two of its protocols are extended here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from eyeflow.base.stop_signals import stop_signals
from eyeflow.net.listener import Listener, raise_descriptors
from eyeflow.net.places import Limits, Place

LINES_MAX = 10
"""Lines of log in LINES_S about what peers did: whoever sends garbage must not fill the disk."""
LINES_S = 60.0

_log = logging.getLogger("eyeflow.net")


class Server(uvicorn.Server):
    """Serves `config` on one listening socket within `limits`; `name` stands in the log.

    `obeys_signals`: SIGTERM, SIGINT and SIGHUP end it cleanly; otherwise whoever runs it sets `should_exit`.
    """

    def __init__(self, config: uvicorn.Config, name: str, limits: Limits, *, obeys_signals: bool = False) -> None:
        super().__init__(config)
        self._name, self._limits, self._obeys_signals = name, limits, obeys_signals
        self.listener: Listener | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """In uvicorn's place: it would raise a signal again after a clean stop."""
        with stop_signals(self._end) if self._obeys_signals else contextlib.nullcontext():
            yield

    def _end(self, number: int) -> None:
        self.handle_exit(number, None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept; see `uvicorn.Server`."""
        assert sockets is not None and len(sockets) == 1, "a server has one socket"
        raise_descriptors()
        await super().startup(sockets=[])
        budget = _LineBudget()

        def make(place: Place) -> asyncio.BaseProtocol:
            return _Http(self, place, budget)

        self.listener = Listener(self._name, sockets[0], self._limits, make, self.config.ssl)
        self.listener.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, let requests end; see `uvicorn.Server`."""
        if self.listener is not None:
            self.listener.close()
        await super().shutdown(sockets)


def http_config(app: Any, **more: Any) -> uvicorn.Config:
    """Return the configuration that every server shares; `more` are uvicorn's own options."""
    return uvicorn.Config(
        app, http=H11Protocol, log_config=None, log_level="warning", access_log=False, server_header=False, **more
    )


def link_config(app: Any, message_bytes_max: int, ping_s: float, **more: Any) -> uvicorn.Config:
    """Return the configuration of a server that takes WebSocket links, too."""
    return http_config(
        app,
        ws=_WebSocket,
        ws_max_size=message_bytes_max,
        ws_per_message_deflate=False,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        **more,
    )


class _Http(H11Protocol):
    """Gives the head of each request a time, and tells `Places` whether the peer owes bytes or we owe the answer."""

    def __init__(self, server: Server, place: Place, budget: _LineBudget) -> None:
        super().__init__(server.config, server.server_state, server.lifespan.state)
        assert server.listener is not None
        self._listener, self._places = server.listener, server.listener.places
        self._place, self._budget = place, budget
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_link = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self.logger = _PeerLog(self._budget, transport)  # type: ignore[assignment]
        self._place.end = transport.abort
        self._listener.give_grace(self._place)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._is_link = True
        self._stop_timer()
        self._places.mark(self._place, waiting=False)
        super().handle_websocket_upgrade(event)
        link = self.transport.get_protocol()
        assert isinstance(link, _WebSocket)
        link.on_accept = lambda: self._places.make_link(self._place)

    def _look(self) -> None:
        """Between an answer and the next whole head the timer runs: also while the rest of a refused body comes."""
        if self._is_link or self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        self._places.mark(self._place, waiting=idle or self.cycle.more_body)
        if not idle:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._places.limits.head_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _WebSocket(WebSocketsSansIOProtocol):
    """A link: what the log says of it names the peer, and a refusal is no error."""

    on_accept: Callable[[], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.logger = _PeerLog(_links_budget, transport)  # type: ignore[assignment]

    def handle_connect(self, event: Any) -> None:
        """As uvicorn, with the certificate that the peer has shown (ASGI's extension `tls`)."""
        super().handle_connect(event)
        tls = self.transport.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True) if tls is not None else None
        if shown is not None and hasattr(self, "scope"):
            chain = [ssl.DER_cert_to_PEM_cert(shown)]
            self.scope["extensions"]["tls"] = {"client_cert_chain": chain}

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.on_accept()
        elif message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # refused is complete, too; without this uvicorn logs an error for each


class _LineBudget:
    """Says whether one more line may be written now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._from_s = clock()
        self._lines = self.left_out = 0

    def take(self) -> bool:
        """Count one line; False: leave it out."""
        now_s = self._clock()
        if now_s - self._from_s >= LINES_S:
            self._from_s, self._lines = now_s, 0
        self._lines += 1
        if self._lines <= LINES_MAX:
            return True
        self.left_out += 1
        return False


_links_budget = _LineBudget()


class _PeerLog(logging.LoggerAdapter[logging.Logger]):
    """Names the peer in each line, and keeps to the budget."""

    def __init__(self, budget: _LineBudget, transport: asyncio.BaseTransport) -> None:
        super().__init__(_log)
        self._budget = budget
        self._peer = transport.get_extra_info("peername")
        self.level = logging.WARNING  # uvicorn reads it to see whether it traces

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write one line, as `logging.Logger.log` does."""
        if level < logging.WARNING or not self._budget.take():
            return
        host, port = (self._peer or ("?", 0))[:2]
        left_out, self._budget.left_out = self._budget.left_out, 0
        more = f" ({left_out} such lines were left out)" if left_out else ""
        _log.log(level, f"{host}:{port}: {str(msg).strip()}{more}", *args, **kwargs)
