"""`http.post(url, body)` and `http.put(url, body)`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import httpx

from eyeflow.base.reasons import why
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.http.settings import HttpClientConfig
from eyeflow.node.io.ports import Unreachable
from eyeflow.svm.program import Value

METHODS = {"http.post": "POST", "http.put": "PUT"}
CONNECTIONS_MAX = 32


class HttpDriver(BaseDriver):
    """Any answer but 2xx is a failure; redirects are not followed: a rule acts on the URL it names."""

    def __init__(self, config: HttpClientConfig) -> None:
        super().__init__("http")
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
        self._timeout_s = config.timeout_s
        self._client = httpx.AsyncClient(timeout=config.timeout_s, limits=limits, follow_redirects=False)

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Send one request."""
        if capability not in METHODS:
            await super().act(capability, args)
        url, body = str(args["url"]), str(args["body"])
        headers = {"content-type": "application/json" if _is_json(body) else "text/plain; charset=utf-8"}
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._send(METHODS[capability], url, body.encode(), headers)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise self.failure(f"{capability} {url}: no answer within {self._timeout_s:g}s") from error
        except httpx.ConnectError as error:
            raise Unreachable(str(self.failure(f"{capability} {url}: {why(error)}"))) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.failure(f"{capability} {url}: {why(error)}") from error
        if not 200 <= status < 300:
            raise self.failure(f"{capability} {url}: the server answered {status}")
        self.status.counters["actions"] += 1

    async def close(self) -> None:
        """Close idle connections."""
        await self._client.aclose()

    async def _send(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> int:
        # Only the status counts, so that a huge answer costs nothing: its body is never read.
        async with self._client.stream(method, url, content=body, headers=headers) as response:
            return response.status_code


def _is_json(body: str) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
