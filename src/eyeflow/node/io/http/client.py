"""Requests of `http.post` and `http.put` by httpx, with errors that its user need not know httpx for."""

from __future__ import annotations

import httpx

from eyeflow.base.reasons import why
from eyeflow.net.bodies import CLOSING

CONNECTIONS_MAX = 32


class RequestError(Exception):
    """The request failed; the text says why."""


class NotSentError(RequestError):
    """Nothing was sent: there was no connection."""


class Client:
    """Keeps connections. Redirects are not followed: a rule acts on the URL that it names."""

    def __init__(self, timeout_s: float) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
        self._client = httpx.AsyncClient(timeout=timeout_s, limits=limits, follow_redirects=False, event_hooks=CLOSING)

    async def send(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Return the status of the answer. Raises TimeoutError, NotSentError or RequestError."""
        try:
            # Only the status counts, so that a huge answer costs nothing: its body is never read.
            async with self._client.stream(method, url, content=body, headers=headers) as response:
                return response.status_code
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except httpx.ConnectError as error:
            raise NotSentError(why(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RequestError(why(error)) from error

    async def close(self) -> None:
        """Close idle connections."""
        await self._client.aclose()
