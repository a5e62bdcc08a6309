"""`http.post` and `http.put` against a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from components.http_server import serve
from eyeflow.node.io.http.driver import HttpDriver
from eyeflow.node.io.http.settings import HttpClientConfig
from eyeflow.svm.execution import CapabilityFailure


def call(url: str, capability: str = "http.post", body: str = "{}", timeout_s: float = 10.0) -> None:
    async def scenario() -> None:
        driver = HttpDriver(HttpClientConfig(timeout_s))
        try:
            await driver.act(capability, {"url": url, "body": body})
        finally:
            await driver.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("capability", "method", "body", "kind"),
    [
        ("http.post", "POST", '{"hot": true}', "application/json"),
        ("http.put", "PUT", "tank is full", "text/plain; charset=utf-8"),
    ],
)
def test_the_body_arrives_with_its_type(capability: str, method: str, body: str, kind: str) -> None:
    seen: list[tuple[str, str, bytes, str]] = []

    def answer(request: Request, data: bytes) -> Response:
        seen.append((request.method, request.url.path, data, request.headers["content-type"]))
        return Response(status_code=204)

    with serve(answer) as url:
        call(f"{url}/x", capability, body)
    assert seen == [(method, "/x", body.encode(), kind)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _r, _b: Response(status_code=500), "answered 500"),
        (lambda _r, _b: Response(status_code=404), "answered 404"),
        (lambda _r, _b: RedirectResponse("/elsewhere"), "answered 307"),
    ],
)
def test_anything_but_2xx_is_a_failure(answer: Callable[[Request, bytes], Response], reason: str) -> None:
    with serve(answer) as url, pytest.raises(CapabilityFailure, match=reason):
        call(url)


def test_a_server_that_hangs_is_a_failure() -> None:
    release = threading.Event()

    def hang(_request: Request, _body: bytes) -> Response:
        release.wait(60)
        return Response()

    with serve(hang) as url:
        with pytest.raises(CapabilityFailure, match=r"no answer within 0\.1s"):
            call(url, timeout_s=0.1)
        release.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "ftp://127.0.0.1/", "no url", "http://[", ""])
def test_what_cannot_be_reached_is_a_failure(url: str) -> None:
    with pytest.raises(CapabilityFailure):
        call(url)


def test_an_unknown_action_is_a_failure() -> None:
    with pytest.raises(CapabilityFailure, match="not an action"):
        call("http://127.0.0.1:9/", "http.delete")
