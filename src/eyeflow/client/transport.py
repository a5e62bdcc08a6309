"""One connection to a coordinator: requests, whole answers within bounds, and the pages of its long lists."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from eyeflow import __version__
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import tls_advice, why
from eyeflow.client.answers import Json, Reply, object_of, other_version, refusal
from eyeflow.net.bodies import CLOSING, PLAIN, aread_body

TIMEOUT_S = 15.0
"""Longest wait for the connection, and for each next byte."""
EXCHANGE_S = 30.0
"""Longest time from a request to the end of its answer: httpx limits each wait only."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Largest answer that is read: the nodes of a big cluster are a few megabytes."""
REPEATS_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Pauses before what is to be done once is asked for again: as long as a coordinator needs to start again."""
PASSING = frozenset({"request_in_progress", "storage", "conflict"})
"""Refusals that pass by themselves."""
PAGE_ROWS = 500
"""Rows of a list that are asked for at once."""

TOKEN = re.compile(r"[!-~]+")
"""What an HTTP header can carry of a token."""

T = TypeVar("T")


class Connection:
    """Asks the coordinator at `url` with an API token; `ca_file` signs its certificate. Both may be empty."""

    def __init__(
        self, url: str, token: str, ca_file: str = "", transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {_sendable(token)}"} if token else {}
        self.verify, self.has_network = _verify(ca_file), transport is None
        headers = {"User-Agent": f"eyeflow/{__version__}", **PLAIN, **self.headers}
        try:
            self._http = httpx.AsyncClient(
                base_url=self.url,
                headers=headers,
                timeout=TIMEOUT_S,
                trust_env=False,
                verify=self.verify,
                transport=transport,
                event_hooks=CLOSING,
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise _bad_url(url, error) from error
        self._loop = asyncio.Runner()
        self._ends = ExitStack()
        """What ends with it. A command that ends early leaves a loop over news, whose own end comes after this one."""

    def close(self) -> None:
        """Close the connection."""
        with self._loop, self._ends:
            self._loop.run(self._http.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _page(self, path: str, name: str, cursor: str, limit: int, filters: Mapping[str, Any]) -> Json:
        """Return a page of a list."""
        params = {"limit": limit, **filters, **({"cursor": cursor} if cursor else {})}
        found = object_of(self._ask("GET", path, params=params))
        if not (isinstance(found[name], list) and isinstance(found["nextCursor"], str)):
            raise other_version(f"{self.url}{path}", f"its `{name}` is no page of a list")
        return found

    def _all(
        self, path: str, name: str, filters: Mapping[str, Any], limit: int | None = None, cursor: str = ""
    ) -> list[Json]:
        """Return the rows of all pages of a list, or the first `limit`."""
        rows: list[Json] = []
        while limit is None or len(rows) < limit:
            size = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - len(rows))
            found = self._page(path, name, cursor, size, filters)
            rows += found[name]
            if not (cursor := found["nextCursor"]):
                break
        return rows

    def _once(self, method: str, path: str, **request: Any) -> Json:
        """Ask for what is to be done once, and again when the answer was lost: with the same key it is done once."""
        headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
        return object_of(self._run(self._repeated(method, path, {**request, "headers": headers})))

    async def _repeated(self, method: str, path: str, request: Mapping[str, Any]) -> Reply:
        for attempt, pause_s in enumerate((*REPEATS_S, None)):
            try:
                reply = await self._exchange(method, path, request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if pause_s is None or not attempt:
                    raise  # nothing was sent, so nothing was lost
            except httpx.TransportError:
                if pause_s is None:
                    raise
            else:
                if reply.answer.is_success:
                    return reply
                error = refusal(reply)
                if pause_s is None or error.code not in PASSING:
                    raise error
            assert pause_s is not None
            await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    def _json(self, method: str, path: str, body: Json | None = None, works_s: float = 0.0) -> Json:
        """`works_s`: how much longer than usual the coordinator may take for its answer."""
        return object_of(self._ask(method, path, json=body, timeout=httpx.Timeout(TIMEOUT_S, read=TIMEOUT_S + works_s)))

    def _ask(self, method: str, path: str, **request: Any) -> Reply:
        reply = self._send(method, path, **request)
        if reply.answer.is_success:
            return reply
        raise refusal(reply)

    def _send(self, method: str, path: str, **request: Any) -> Reply:
        return self._run(self._exchange(method, path, request))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(work)
        except UnicodeEncodeError as error:
            if error.object not in self.url:  # what is asked for is no UTF-8, not the URL
                raise
            raise _bad_url(self.url, error) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise _bad_url(self.url, error) from error
        except httpx.HTTPError as error:
            raise EyeflowError(
                f"cannot reach the coordinator at {self.url}",
                cause=why(error),
                next_step=tls_advice(error) or "is the coordinator running? eyeflow coordinator start",
                code="unreachable",
            ) from error

    async def _exchange(self, method: str, path: str, request: Mapping[str, Any]) -> Reply:
        """Send a request and read its whole answer within EXCHANGE_S and what is granted. Raises httpx.HTTPError."""
        granted_s = request["timeout"].read - TIMEOUT_S if "timeout" in request else 0.0
        try:
            async with asyncio.timeout(EXCHANGE_S + granted_s), self._http.stream(method, path, **request) as answer:
                return Reply(answer, await aread_body(answer, ANSWER_BYTES_MAX))
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"the answer did not end within {EXCHANGE_S + granted_s:g} s") from error


def part(text: str) -> str:
    """Return a name or id as a part of a path. Raises EyeflowError for one with a slash: it would be two parts.

    Dots alone would be taken out of the path, with what stands before them (RFC 3986, section 5.2.4).
    """
    if "/" in text:
        raise EyeflowError(
            f"`{text}` is no name and no id",
            cause="it has a slash",
            next_step="check how it is written",
            code="not_found",
            exit_code=ExitCode.PROBLEMS,
        )
    quoted = quote(text, safe="") or "%20"
    return quoted if quoted.strip(".") else "%2E" * len(quoted)


def _verify(ca_file: str) -> Any:
    if not ca_file:
        return True
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise EyeflowError(
            f"the CA file {ca_file} cannot be used",
            cause=why(error),
            next_step="name the PEM file that signs the coordinator's certificate in client.toml",
            code="ca_file",
        ) from error


def _sendable(token: str) -> str:
    if TOKEN.fullmatch(token) is None:
        raise EyeflowError(
            "this is no API token",
            cause="it has a blank, or a character that no token has",
            next_step="look at EYEFLOW_TOKEN, or at client.toml",
            code="bad_token",
            exit_code=ExitCode.USAGE,
        )
    return token


def _bad_url(url: str, error: Exception) -> EyeflowError:
    return EyeflowError(
        f"`{url}` is not the URL of a coordinator",
        cause=why(error),
        next_step="write it like http://127.0.0.1:7700",
        code="bad_url",
        exit_code=ExitCode.USAGE,
    )
