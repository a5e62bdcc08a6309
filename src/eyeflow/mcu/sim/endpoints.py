"""Where a simulated serial line ends on this machine: a TCP socket (`socket://127.0.0.1:PORT`) or a pseudo-terminal."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why

CHUNK_BYTES_MAX = 4096
UNSENT_BYTES_MAX = 1 << 16
"""What waits for a client that does not read; beyond that bytes are lost, as on a line without flow control."""


GRACE_S = 1.0
"""How long a new client waits for the last one to go before it is turned away."""


class Endpoint(Protocol):
    """The far end of the line."""

    url: str

    def files(self) -> list[int]:
        """Return the file descriptors that become readable when something happens."""
        ...

    def receive(self) -> bytes:
        """Return what has come, without waiting."""
        ...

    def send(self, data: bytes) -> None:
        """Send without waiting; lost when nobody listens."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class TcpEndpoint:
    """A listening socket on this machine for one client at a time; a second one is turned away."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((host, port))
        except OSError as error:
            self._listener.close()
            raise EyeflowError(
                f"the simulator cannot listen on {host}:{port}",
                cause=why(error),
                next_step="choose another port, or 0 for any free one",
                code="port_in_use",
            ) from error
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self._next: socket.socket | None = None
        self._next_since = 0.0
        self._unsent = b""
        bound_host, bound_port = self._listener.getsockname()[:2]
        self.url = f"socket://{bound_host}:{bound_port}"

    def files(self) -> list[int]:
        """Return the listener and the client."""
        return [self._listener.fileno()] + ([self._client.fileno()] if self._client is not None else [])

    def receive(self) -> bytes:
        """Return what the client has sent; takes a new client and lets a gone one go."""
        data = self._read_client()
        self._accept()
        return data

    def _read_client(self) -> bytes:
        if self._client is None:
            return b""
        try:
            data = self._client.recv(CHUNK_BYTES_MAX)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    def _accept(self) -> None:
        """Take the next client when the last one has gone; turn it away when that stays longer than the grace."""
        try:
            arrived, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            arrived = None
        if arrived is not None:
            if self._next is not None:
                self._next.close()
            arrived.setblocking(False)
            self._next, self._next_since = arrived, time.monotonic()
        if self._next is None:
            return
        if self._client is None:
            self._client, self._next = self._next, None
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        elif time.monotonic() - self._next_since > GRACE_S:
            self._next.close()
            self._next = None

    def send(self, data: bytes) -> None:
        """Send to the client, if there is one."""
        if self._client is None:
            return
        waiting = (self._unsent + data)[-UNSENT_BYTES_MAX:]
        try:
            sent = self._client.send(waiting) if waiting else 0
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._drop()
            return
        self._unsent = waiting[sent:]

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._unsent = None, b""

    def close(self) -> None:
        """Close client and listener."""
        self._drop()
        if self._next is not None:
            self._next.close()
        self._listener.close()


class PtyEndpoint:
    """A pseudo-terminal: `url` is the path to open, such as /dev/pts/3."""

    def __init__(self) -> None:
        import termios
        import tty

        self._main, self._other = os.openpty()
        tty.setraw(self._other, termios.TCSANOW)
        os.set_blocking(self._main, False)
        self.url = os.ttyname(self._other)

    def files(self) -> list[int]:
        """Return our side."""
        return [self._main]

    def receive(self) -> bytes:
        """Return what was written to the terminal."""
        try:
            return os.read(self._main, CHUNK_BYTES_MAX)
        except (BlockingIOError, InterruptedError):
            return b""

    def send(self, data: bytes) -> None:
        """Write to the terminal as much as its buffer takes."""
        if data and select.select([], [self._main], [], 0)[1]:
            os.write(self._main, data)

    def close(self) -> None:
        """Close both sides."""
        os.close(self._main)
        os.close(self._other)
