"""A real HTTP server for tests: a Starlette application on uvicorn in a thread, on a free loopback port."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Answer = Callable[[Request, bytes], Response]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def serve(answer: Answer, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Answer every request with `answer(request, body)`, run in a worker thread; gives the base URL.

    With a `certificate` and its key (PEM files) it speaks TLS.
    """

    async def handle(request: Request) -> Response:
        import asyncio

        return await asyncio.to_thread(answer, request, await request.body())

    app = Starlette(routes=[Route("/{path:path}", handle, methods=["GET", "POST", "PUT"])])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        if certificate is not None:
            config.ssl_certfile, config.ssl_keyfile = certificate
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()
