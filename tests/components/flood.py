"""Clients that mean no good: connections that never finish what they began, opened again as soon as they are closed."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

SILENT = b"POST /hooks/door HTTP/1.1\r\nHost: x\r\nX-A: "


class Flood:
    """Holds `count` open connections to a port of this machine until `stop`; `opened` counts all it ever opened."""

    def __init__(self, port: int, count: int, first: bytes = SILENT, source: str = "127.0.0.1") -> None:
        self._port, self._count, self._first, self._source = port, count, first, source
        self._open = selectors.DefaultSelector()
        self._over = threading.Event()
        self.opened = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def held(self) -> int:
        return len(self._open.get_map() or ())

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._open.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._open.close()

    def _run(self) -> None:
        while not self._over.is_set():
            self._drop_closed()
            if self.held < self._count:
                self._add()

    def _drop_closed(self) -> None:
        for key, _ in self._open.select(0 if self.held < self._count else 0.02):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            with contextlib.suppress(OSError):
                if one.recv(4096):
                    continue
            self._open.unregister(one)
            one.close()

    def _add(self) -> None:
        one = socket.socket()
        one.settimeout(0.2)
        try:
            one.bind((self._source, 0))
            one.connect(("127.0.0.1", self._port))
            one.send(self._first)
        except OSError:
            one.close()
            self._over.wait(0.01)
            return
        self.opened += 1
        self._open.register(one, selectors.EVENT_READ)


@contextlib.contextmanager
def flood(port: int, count: int, first: bytes = SILENT, source: str = "127.0.0.1") -> Iterator[Flood]:
    """Flood while the block runs."""
    made = Flood(port, count, first, source)
    try:
        yield made
    finally:
        made.stop()


class Asking:
    """Strangers who ask the same on `count` connections, again and again; `answers` counts what came, by status."""

    def __init__(self, port: int, count: int, request: bytes) -> None:
        self._port, self._count, self._request = port, count, request
        self._over = threading.Event()
        self.answers: dict[bytes, int] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as opened:
            for _ in range(self._count):
                self._ask(opened)
            while not self._over.is_set():
                for key, _ in opened.select(0.02):
                    one = key.fileobj
                    assert isinstance(one, socket.socket)
                    self._hear(one)
                    opened.unregister(one)
                    one.close()
                    self._ask(opened)
            for key in list(opened.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]

    def _ask(self, opened: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", self._port), 5)
            one.sendall(self._request)
            opened.register(one, selectors.EVENT_READ)

    def _hear(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            status = one.recv(4096)[9:12]
            self.answers[status] = self.answers.get(status, 0) + 1


@contextlib.contextmanager
def asking(port: int, count: int, request: bytes) -> Iterator[Asking]:
    made = Asking(port, count, request)
    try:
        yield made
    finally:
        made.stop()
