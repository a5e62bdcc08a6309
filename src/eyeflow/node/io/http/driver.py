"""`http.post(url, body)` and `http.put(url, body)`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.http.settings import HttpClientConfig
from eyeflow.node.io.ports import Unreachable
from eyeflow.svm.program import Value

if TYPE_CHECKING:
    from eyeflow.node.io.http.client import Client

METHODS = {"http.post": "POST", "http.put": "PUT"}


class HttpDriver(BaseDriver):
    """Any answer but 2xx is a failure. The first action loads httpx."""

    def __init__(self, config: HttpClientConfig) -> None:
        super().__init__("http")
        self._timeout_s = config.timeout_s
        self._client: Client | None = None
        self._opening = asyncio.Lock()

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Send one request."""
        if capability not in METHODS:
            await super().act(capability, args)
        url, body = str(args["url"]), str(args["body"])
        status = await self._send(capability, url, body)
        if not 200 <= status < 300:
            raise self.failure(f"{capability} {url}: the server answered {status}")
        self.status.counters["actions"] += 1

    async def _send(self, capability: str, url: str, body: str) -> int:
        client = await self._opened()
        from eyeflow.node.io.http.client import NotSentError, RequestError

        headers = {"content-type": "application/json" if _is_json(body) else "text/plain; charset=utf-8"}
        try:
            async with asyncio.timeout(self._timeout_s):
                return await client.send(METHODS[capability], url, body.encode(), headers)
        except TimeoutError as error:
            raise self.failure(f"{capability} {url}: no answer within {self._timeout_s:g}s") from error
        except NotSentError as error:
            raise Unreachable(str(self.failure(f"{capability} {url}: {error}"))) from error
        except RequestError as error:
            raise self.failure(f"{capability} {url}: {error}") from error

    async def _opened(self) -> Client:
        async with self._opening:
            if self._client is None:
                # In a thread: loading takes a second on a small machine, and other rules run meanwhile.
                self._client = await asyncio.to_thread(_open, self._timeout_s)
        return self._client

    async def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            await self._client.close()


def _open(timeout_s: float) -> Client:
    from eyeflow.node.io.http.client import Client

    return Client(timeout_s)


def _is_json(body: str) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
