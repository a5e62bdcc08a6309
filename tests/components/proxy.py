"""A proxy between real processes on loopback that cuts connections at any byte, delays, throttles, and goes silent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from random import Random

CHUNK_BYTES = 4096
NEVER = 1 << 62


@dataclass(frozen=True)
class Weather:
    """What happens to bytes: each chunk is `delay_s` late, and `bytes_per_s` go at most, when that is not 0.

    A connection is reset in the middle of a chunk after `cut_after` bytes. When `silent`, both ends stay open and
    nothing arrives (half-open).
    """

    delay_s: float = 0.0
    bytes_per_s: int = 0
    cut_after: int = NEVER
    silent: bool = False


FAIR = Weather()


def some_weather(rng: Random) -> Weather:
    """Return a fault of the network, or none."""
    return rng.choice(
        [
            FAIR,
            Weather(cut_after=rng.randrange(1, 1 << rng.randrange(4, 20))),
            Weather(delay_s=rng.uniform(0.01, 0.3)),
            Weather(silent=True),
            Weather(bytes_per_s=rng.choice([2_000, 20_000, 200_000])),
        ]
    )


class Proxy:
    """Forwards from `port` to `target_port`, in a thread of its own, until `close`. `cuts` counts what it reset."""

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.target_port, self.cuts = target_port, 0
        self._weather, self._passed = FAIR, 0
        self._changed: asyncio.Event | None = None
        self._clearing: asyncio.TimerHandle | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result()
        self.port = int(self._server.sockets[0].getsockname()[1])

    def turn(self, weather: Weather, for_s: float = 0.0) -> None:
        """Let all connections, also those that are there, have this weather, for so long when that is not 0.

        What was silent is reset.
        """
        self._loop.call_soon_threadsafe(self._turn, weather, for_s)

    def close(self) -> None:
        """End all connections and the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self, port: int) -> asyncio.Server:
        self._changed = asyncio.Event()
        return await asyncio.start_server(self._accept, "127.0.0.1", port)

    def _turn(self, weather: Weather, for_s: float) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
        self._clearing = self._loop.call_later(for_s, self._turn, FAIR, 0.0) if for_s else None
        if self._weather.silent:
            self._reset_all()
        self._weather, self._passed = weather, 0
        assert self._changed is not None
        self._changed.set()
        self._changed = asyncio.Event()

    def _reset_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self.cuts += len(self._writers) // 2

    async def _end(self) -> None:
        self._server.close()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            both = {writer, there_writer}
            self._writers |= both
            ways = [self._pump(reader, there_writer), self._pump(there_reader, writer)]
            done, rest = await asyncio.wait(
                [asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED
            )
            for task in rest:
                task.cancel()
            await asyncio.gather(*done, *rest, return_exceptions=True)
            self._writers -= both
            there_writer.transport.abort()
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self._bear(len(data))
            left = self._weather.cut_after - self._passed
            self._passed += len(data)
            writer.write(data[: max(0, left)])
            await writer.drain()
            if left < len(data):  # the next connection has so many bytes, too
                self._passed = 0
                self.cuts += 1
                return

    async def _bear(self, count: int) -> None:
        """Hold a chunk for as long as the weather says."""
        while self._weather.silent:
            assert self._changed is not None
            await self._changed.wait()
        late_s = self._weather.delay_s + (count / self._weather.bytes_per_s if self._weather.bytes_per_s else 0.0)
        if late_s:
            await asyncio.sleep(late_s)
