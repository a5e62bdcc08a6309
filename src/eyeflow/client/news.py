"""What changes at the coordinator, as it happens: over the WebSocket of `/api/changes`.

It is a hint to look, and nothing more: who waits looks from time to time as well. So a command works with a coordinator
that has no such path, behind a proxy that lets no WebSocket through, and when the connection breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

AGAIN_S = 5.0
"""How long after a broken connection the next one is tried."""
OPEN_S = 5.0
MESSAGE_BYTES_MAX = 1024 * 1024


class News:
    """News from the coordinator at `url`: what `asked` asks for, by the parameters of `/api/changes`.

    `run` runs a coroutine to its end; `verify` is an SSL context, or True for the usual one.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        verify: Any,
        asked: Mapping[str, Sequence[str]],
        run: Callable[[Any], Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/api/changes?{urlencode(asked, doseq=True)}"
        self._headers, self._run, self._clock = headers, run, clock
        self._ssl = verify if url.startswith("https") and verify is not True else None
        self._websocket: ClientConnection | None = None
        self._is_offered = True
        self._tried_s: float | None = None

    @property
    def trouble(self) -> str:
        """Why nobody tells any news; empty while somebody does."""
        if self._websocket is not None:
            return ""
        return "the connection for news is broken" if self._is_offered else "the coordinator tells this token no news"

    def wait(self, seconds: float) -> bool:
        """Return when there are news, or after some seconds. False: nobody tells any, and hardly time has passed."""
        return bool(self._run(self._wait(seconds)))

    def close(self) -> None:
        """Close the connection; once is enough."""
        if self._websocket is not None:
            self._run(self._close())

    async def _wait(self, seconds: float) -> bool:
        if self._websocket is None:
            await self._open()
        if self._websocket is None:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._websocket.recv()
            await self._drain(self._websocket)
        except TimeoutError:
            return True
        except ConnectionClosed:
            self._websocket = None
            return False
        return True

    async def _drain(self, websocket: ClientConnection) -> None:
        """One look is enough for all that has been told: a slow reader would else look once for each message."""
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0):
                    await websocket.recv()

    async def _open(self) -> None:
        now_s = self._clock()
        if not self._is_offered or (self._tried_s is not None and now_s - self._tried_s < AGAIN_S):
            return
        self._tried_s = now_s
        try:
            self._websocket = await connect(
                self._url,
                additional_headers=self._headers,
                ssl=self._ssl,
                proxy=None,
                open_timeout=OPEN_S,
                max_size=MESSAGE_BYTES_MAX,
            )
        except (InvalidStatus, InvalidURI, ValueError):
            self._is_offered = False  # an older coordinator, or one that lets this token not watch
        except (OSError, TimeoutError, InvalidHandshake):
            return

    async def _close(self) -> None:
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            await websocket.close()
