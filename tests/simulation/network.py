"""TCP in memory: streams that keep their order, and that are late, cut, silent for a while, or left behind by the dead.

The HTTP and WebSocket libraries of both ends are the real ones; so are the listener and its places. A connection knows
nothing of the others: what was sent over an older one may come after what was sent over a newer one.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from simulation.loop import CURRENT, Process, SimLoop, pass_time

LATENCY_S = (0.0002, 0.02)
SLOW_SHARE, SLOW_S = 0.01, 2.0
"""One delivery in so many takes longer: what comes over another connection overtakes it."""
SPLIT_SHARE = 0.05
WINDOW_BYTES = 1 << 20
"""What may be on its way to an end that does not read, before its sender is told to wait."""
UNREAD_S = 30.0
"""How long a closed connection waits for its peer to take what was sent: as the listener's TCP_USER_TIMEOUT."""
SWEEP_LINKS = 64
"""So many connections are kept before those that are over are looked for."""

Context = contextvars.Context
Act = Callable[[], None]


class Network:
    """`cut_off` names the processes whose packets are held back in both directions until they are in it no more."""

    def __init__(self, loop: SimLoop, rng: Random) -> None:
        self.loop, self.rng = loop, rng
        self.listening: dict[tuple[str, int], Listening] = {}
        self.lines: dict[str, Callable[[Any], Any]] = {}
        """Serial lines by the host of their address: what opens one. They are no part of the network, and never cut off."""
        self.cut_off: set[str] = set()
        self.window_bytes = WINDOW_BYTES
        self.links: list[Connection] = []
        self._healed: list[asyncio.Future[None]] = []
        self._accepting: dict[int, Connection] = {}
        self._held: list[socket.socket] = []
        self._port = 40_000
        self._swept_at = SWEEP_LINKS
        loop.network = self

    def listen(self, host: str, port: int) -> Any:
        """Return what stands for a listening socket: `serve` is handed this function."""
        process = CURRENT.get()
        assert process is not None
        made = self.listening[host, port] = Listening(self, (host, port), process)
        return made

    def latency_s(self) -> float:
        return self.rng.uniform(*LATENCY_S) + (self.rng.uniform(0, SLOW_S) if self.rng.random() < SLOW_SHARE else 0)

    async def connect(self, factory: Any, host: str, port: int) -> Any:
        client = CURRENT.get()
        assert client is not None
        if host in self.lines:
            return self.lines[host](factory)
        await pass_time(self.latency_s())
        while client.name in self.cut_off:  # as SYNs that are sent again; whoever dials has a time-out
            waiting = self.loop.create_future()
            self._healed.append(waiting)
            await waiting
        listening = self.listening.get((host, port))
        if listening is None or not listening.process.works:
            raise ConnectionRefusedError(111, "Connection refused")
        self._port += 1
        made = Connection(self, client, listening.process, self._port)
        self.links.append(made)
        if len(self.links) > self._swept_at:
            self._sweep()
        transport = made.open(0, factory, None)
        listening.arrive(made)
        return transport, transport.get_protocol()

    def close(self) -> None:
        """Close what the system holds of the connections: one descriptor for each that was accepted."""
        for one in self._held:
            one.close()

    def _sweep(self) -> None:
        """Forget what is over, each time twice as many are there as were left: else each dial would look at all."""
        self.links = [link for link in self.links if not link.is_over]
        self._held = [one for one in self._held if one.fileno() >= 0]
        self._swept_at = max(SWEEP_LINKS, 2 * len(self.links))

    def accepted(self, factory: Any, sock: socket.socket) -> Any:
        self._held.append(sock)
        transport = self._accepting.pop(sock.fileno()).open(1, factory, sock)
        return transport, transport.get_protocol()

    def token(self, connection: Connection) -> socket.socket:
        """Return a socket that nothing is connected to, by whose number the connection is found again."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._accepting[made.fileno()] = connection
        return made

    def heal(self, name: str) -> None:
        self.cut_off.discard(name)
        waiting, self._healed = self._healed, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
        for link in self.links:
            link.flush()

    def lose(self, process: Process, silently: bool) -> None:
        """A process died: its peers hear of that, or after a power cut they do not."""
        for key in [key for key, one in self.listening.items() if one.process is process]:
            del self.listening[key]
        for link in self.links:
            if process in link.owners:
                link.died(process, silently)
        self.links = [link for link in self.links if not link.is_over]

    def cut(self, process: Process) -> None:
        """Something between the two ends every connection of a process, and both ends hear of it."""
        for link in self.links:
            if process in link.owners:
                link.reset()


class Listening:
    """What a server takes for its listening socket."""

    def __init__(self, network: Network, address: tuple[str, int], process: Process) -> None:
        self._network, self._address, self.process = network, address, process
        self._pending: deque[Connection] = deque()
        self._readable: tuple[Any, Context] | None = None

    def arrive(self, connection: Connection) -> None:
        self._pending.append(connection)
        self._tell()

    def when_readable(self, callback: Any, context: Context | None) -> None:
        self._readable = None if context is None else (callback, context)
        self._tell()

    def _tell(self) -> None:
        if self._readable and self._pending:
            callback, context = self._readable
            self._network.loop.call_soon(callback, context=context)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if not self._pending:
            raise BlockingIOError
        connection = self._pending.popleft()
        return self._network.token(connection), ("127.0.0.1", connection.port)

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def setblocking(self, flag: bool) -> None:
        return None

    def listen(self, backlog: int) -> None:
        return None

    def close(self) -> None:
        if self._network.listening.get(self._address) is self:
            del self._network.listening[self._address]


class Connection:
    """Two ends, 0 of the client and 1 of the server, and what is on its way to each."""

    def __init__(self, network: Network, client: Process, server: Process, port: int) -> None:
        self.network, self.owners, self.port = network, (client, server), port
        self.ends: list[End | None] = [None, None]
        self._way: tuple[deque[tuple[float, Act]], deque[tuple[float, Act]]] = (deque(), deque())
        self._last_s = [0.0, 0.0]
        self._silent = False

    @property
    def is_over(self) -> bool:
        return self._silent or all(end is not None and end.is_lost for end in self.ends)

    def open(self, side: int, factory: Any, held: socket.socket | None) -> End:
        end = self.ends[side] = End(self, side, held)
        end.begin(factory())
        self._flush(side)
        return end

    def send(self, to: int, act: Callable[[End], None]) -> None:
        """Let `act` happen at the other end, after all that was sent there before."""
        arrives_s = max(self._last_s[to], self.network.loop.time() + self.network.latency_s())
        self._last_s[to] = arrives_s
        self._way[to].append((arrives_s, lambda: self._arrive(to, act)))
        self._later(to, arrives_s)

    def _arrive(self, to: int, act: Callable[[End], None]) -> None:
        end = self.ends[to]
        assert end is not None
        end.take(act)

    def _later(self, to: int, time_s: float) -> None:
        nobody = Context()  # the network belongs to no process: what is on its way comes, although its sender died
        self.network.loop.call_at(time_s, self._deliver, to, context=nobody)

    def _deliver(self, to: int) -> None:
        way, now_s = self._way[to], self.network.loop.time()
        if (
            self.ends[to] is None
            or self._silent
            or not self.network.cut_off.isdisjoint(one.name for one in self.owners)
        ):
            return
        while way and way[0][0] <= now_s:
            way.popleft()[1]()

    def flush(self) -> None:
        """Let what was held back go on."""
        for to in (0, 1):
            self._flush(to)

    def _flush(self, to: int) -> None:
        for arrives_s, _ in self._way[to]:
            self._later(to, max(arrives_s, self.network.loop.time()))

    def died(self, process: Process, silently: bool) -> None:
        side = self.owners.index(process)
        end = self.ends[side]
        if end is not None:
            end.forget()
        if silently:
            self._silent = True
        else:
            self.send(1 - side, lambda peer: peer.lose(ConnectionResetError(104, "Connection reset by peer")))

    def reset(self) -> None:
        for to in (0, 1):
            self._way[to].clear()
            self.send(to, lambda end: end.lose(ConnectionResetError(104, "Connection reset by peer")))


class End(asyncio.Transport):
    """One end, as its process sees it."""

    def __init__(self, connection: Connection, side: int, held: socket.socket | None) -> None:
        super().__init__()
        self._connection, self._side, self._held = connection, side, held
        self._process = connection.owners[side]
        self._context = contextvars.copy_context()
        self._protocol: Any = None
        self._closing = self._paused = self._going = self.is_lost = False
        self._untaken_bytes, self._is_held_up = 0, False
        self._waiting: deque[Callable[[End], None]] = deque()

    def begin(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def take(self, act: Callable[[End], None]) -> None:
        if self.is_lost:
            return
        self._waiting.append(act)
        self._go()

    def _go(self) -> None:
        if self._waiting and not self._going and not self._paused:
            self._going = True
            self._soon(self._drain)

    def _drain(self) -> None:
        self._going = False
        while self._waiting and not self._paused and not self.is_lost:
            self._waiting.popleft()(self)

    def _soon(self, callback: Any, *args: Any) -> None:
        self._connection.network.loop.call_soon(callback, *args, context=self._context)

    def data(self, data: bytes) -> None:
        if not self.is_lost and not self._closing:
            self._protocol.data_received(data)

    def eof(self) -> None:
        if not self.is_lost and not self._closing and not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None) -> None:
        """The connection is gone, as this end sees it."""
        if self.is_lost:
            return
        self.is_lost = self._closing = True
        if self._process.works:
            self._protocol.connection_lost(error)
        self._release()

    def forget(self) -> None:
        self.is_lost = self._closing = True
        self._release()

    def _release(self) -> None:
        self._waiting.clear()
        if self._held is not None:
            self._held.close()

    def write(self, data: Any) -> None:
        if self._closing or not self._process.works or not data:
            return
        self._process.effect(is_message=True)
        if self._process.doomed:
            return
        chunk, rng = bytes(data), self._connection.network.rng
        place = rng.randrange(len(chunk)) if rng.random() < SPLIT_SHARE else 0
        for part in (chunk[:place], chunk[place:]):
            if part:
                self._send(lambda peer, part=part: self._hand_over(peer, part))
        self._untaken_bytes += len(chunk)
        if self._untaken_bytes > self._connection.network.window_bytes and not self._is_held_up:
            self._is_held_up = True
            self._protocol.pause_writing()

    def _hand_over(self, peer: End, part: bytes) -> None:
        """The peer takes what it reads: so much more may be sent."""
        peer.data(part)
        self._untaken_bytes -= len(part)
        if self._is_held_up and self._untaken_bytes <= self._connection.network.window_bytes:
            self._is_held_up = False
            if self._process.works and not self.is_lost:
                self._soon(self._protocol.resume_writing)

    def _send(self, act: Callable[[End], None]) -> None:
        self._connection.send(1 - self._side, act)

    def write_eof(self) -> None:
        if not self._closing and self._process.works:
            self._send(lambda peer: peer.eof())

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._process.works:
            self._send(lambda peer: peer.eof())
            if self._is_held_up:
                self._connection.network.loop.call_later(UNREAD_S, self.lose, TimeoutError(110), context=self._context)
            else:
                self._soon(self.lose, None)

    def abort(self) -> None:
        if self.is_lost or not self._process.works:
            return
        self._closing = True
        self._send(lambda peer: peer.lose(ConnectionResetError(104, "Connection reset by peer")))
        self._soon(self.lose, None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._go()

    def is_reading(self) -> bool:
        return not self._paused

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        addresses = (("127.0.0.1", self._connection.port), ("127.0.0.1", 7700))
        here, there = addresses[self._side], addresses[1 - self._side]
        known = {"sockname": here, "peername": there, "socket": _NoSocket(here, there)}
        return known.get(name, default)


class _NoSocket:
    """What the HTTP client asks of the socket below: its addresses, and that it has no descriptor."""

    family = socket.AF_INET

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self._here, self._there = here, there

    def getsockname(self) -> tuple[str, int]:
        return self._here

    def getpeername(self) -> tuple[str, int]:
        return self._there

    def fileno(self) -> int:
        return -1
