"""A listening TCP socket that accepts no more than the process can bear.

asyncio's own accept loop has no bound, and out of descriptors it logs one traceback for each place of the backlog and
tries again each second: 270 MB of log in 45 s were measured. So this is ours.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eyeflow.base.reasons import why
from eyeflow.net.places import Limits, Place, Places, group_of

_log = logging.getLogger("eyeflow.net")

BACKLOG_MAX = 1024
"""Newcomers that the system keeps in a queue. Beyond it they wait much longer: for their own next attempt."""
ACCEPTS_PER_TURN = 16
"""Connections accepted before other work of the loop has its turn."""
RESERVE = 64
"""Descriptors that no connection from outside takes: the store, status socket, file actions and links need some.

Half of all where there are fewer than 128.
"""
GRACE_S = 0.25
"""A new connection does not give way for so long: a flood of others must not close it before its bytes are read."""
LOOKS_MAX = 64
"""Connections that are asked for unread bytes, at most, until one is found that gives way."""
PAUSE_S = 0.05
"""How long nothing is accepted while every place is at work or the system has no descriptor."""
QUIET_S = 60.0
"""One line of log about full places in this time; a flood must not fill the disk."""

DESCRIPTORS_MAX = 65_536
"""As many as a process may open for itself where the system sets no bound below."""

MakeProtocol = Callable[[Place], asyncio.BaseProtocol]


def tcp_socket(host: str, port: int) -> socket.socket:
    """Return a bound TCP socket; raises OSError. Port 0: any free one.

    The protocol is named: asyncio turns Nagle's algorithm off only for sockets that say they are TCP. With it, each
    second request of a kept connection waits for the peer's delayed acknowledgement, 40 ms.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def raise_descriptors() -> None:
    """Let the process open as many descriptors as the system's hard limit lets it: the soft one is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _places_max() -> int:
    """Return for how many connections the process has descriptors, beside the reserve."""
    descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors_max == resource.RLIM_INFINITY:
        return DESCRIPTORS_MAX
    return descriptors_max - min(RESERVE, descriptors_max // 2)


def _bounded(name: str, connections_max: int) -> int:
    """Return for how many connections there is room, and say so when that is for fewer than `connections_max`."""
    room = _places_max()
    if room < connections_max:
        _log.warning(
            "%s: the system lets this process open %d files: room for %d connections, not for %d. To have more, raise "
            "its hard limit to %d: `ulimit -Hn` in a shell, LimitNOFILE= in a unit of systemd",
            *(name, resource.getrlimit(resource.RLIMIT_NOFILE)[0], room, connections_max, connections_max + RESERVE),
        )
    return min(room, connections_max)


class _Held(socket.socket):
    """An accepted socket that gives its place back when its descriptor is closed, whoever closes it."""

    __slots__ = ("place", "places")
    place: Place
    places: Places | None

    def close(self) -> None:
        places, self.places = getattr(self, "places", None), None
        if places is not None:
            places.leave(self.place)
        super().close()

    def has_unread(self) -> bool:
        """Say whether the peer has sent what nobody has read yet."""
        try:
            return bool(self.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:  # there is nothing, or it is closed
            return False


class Listener:
    """Accepts connections within `limits`, from `start` to `close`. `name` says in the log which server it is."""

    def __init__(
        self, name: str, listening: socket.socket, limits: Limits, make: MakeProtocol, tls: ssl.SSLContext | None = None
    ) -> None:
        self.places = Places(replace(limits, connections_max=_bounded(name, limits.connections_max)))
        self.turned_away = 0
        self._name, self._socket, self._make, self._tls = name, listening, make, tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[Any]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._quiet_until_s = 0.0

    def start(self) -> None:
        """Start to accept."""
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG_MAX)
        self._resume()

    def use_tls(self, tls: ssl.SSLContext) -> None:
        """Let new connections use this context; open ones stay as they are."""
        self._tls = tls

    def close(self) -> None:
        """Accept nothing more; connections that are open stay open."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket)
        for task in self._opening:
            task.cancel()

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._socket, self._accept_some)

    def _pause(self) -> None:
        """Leave newcomers to the system's queue for a moment."""
        self._loop.remove_reader(self._socket)
        self._retry = self._loop.call_later(PAUSE_S, self._resume)

    def _accept_some(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self.places.is_full() and self.places.weakest() is None:
                self._tell(f"all {self.places.limits.connections_max} places are at work")
                self._pause()
                return
            try:
                accepted, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # EMFILE, ENFILE, ENOBUFS, ENOMEM: the newcomer stays in the system's queue
                for _ in range(ACCEPTS_PER_TURN):
                    self._make_room(why(error))
                self._pause()
                return
            self._admit(accepted, group_of(str(peer[0])))

    def _admit(self, accepted: socket.socket, address: str) -> None:
        if not self._has_room(address):
            accepted.close()
            self.turned_away += 1
            return
        held = _Held(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        held.places, held.place = self.places, self.places.enter(address)
        held.place.has_unread = held.has_unread
        try:
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A peer that never reads would keep its connection for ever: closing waits until all is sent.
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.places.limits.write_s * 1000))
        except OSError:  # it is gone already
            held.close()
            return
        opening = self._loop.create_task(self._open(held))
        held.place.end = opening.cancel
        self._opening.add(opening)
        opening.add_done_callback(lambda done: self._opened(done, held))

    def give_grace(self, place: Place) -> None:
        """Keep a connection for GRACE_S from the moment in which the loop starts to read from it.

        The timer is one of the loop: however busy it is, what came meanwhile is read before the timer fires.
        """
        self._loop.call_later(GRACE_S, self.places.end_grace, place, self.places.begin_grace(place))

    async def _open(self, held: _Held) -> None:
        """Hand a connection to its protocol, after the TLS handshake if there is one."""
        place, limits = held.place, self.places.limits
        self.give_grace(place)
        timeouts = {"ssl_handshake_timeout": limits.tls_s, "ssl_shutdown_timeout": limits.tls_s} if self._tls else {}
        await self._loop.connect_accepted_socket(lambda: self._make(place), held, ssl=self._tls, **timeouts)

    def _opened(self, done: asyncio.Task[None], held: _Held) -> None:
        self._opening.discard(done)
        if done.cancelled() or isinstance(done.exception(), OSError):
            held.close()
        else:
            done.result()

    def _has_room(self, address: str) -> bool:
        if self.places.is_address_full(address):
            return self._make_room(f"{address} holds {self.places.limits.per_address_max}", address)
        if self.places.is_full():
            return self._make_room(f"all {self.places.limits.connections_max} places are taken")
        return True

    def _make_room(self, why: str, address: str | None = None) -> bool:
        self._tell(why)
        for _ in range(LOOKS_MAX):
            weakest = self.places.weakest(address)
            if weakest is None:
                return False
            if weakest.has_unread():  # it asks: the loop accepts before it reads what came in the same moment
                self.give_grace(weakest)
                continue
            self.places.mark(weakest, waiting=False)  # it is on its way out and is not chosen again
            weakest.end()
            self.turned_away += 1
            return True
        return False

    def _tell(self, why: str) -> None:
        now_s = self._loop.time()
        if now_s < self._quiet_until_s:
            return
        self._quiet_until_s = now_s + QUIET_S
        text = "%s: %s, %s; those that send nothing are closed for others (%d so far)"
        _log.warning(text, self._name, why, self.places.busiest(), self.turned_away)
