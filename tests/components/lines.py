"""Lines between a host and a board that end, read at another rate, or are shouted at."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eyeflow.board_link.frames import ANSWER, Frame, Receiver, encode_frame
from eyeflow.board_link.messages import Request

Change = Callable[[bytes], bytes]
LAST = 77
"""The number of the request after the noise."""

DEADLINE_S = 120.0
RICH_IN_DELIMITERS = bytes(0 if byte < 25 else byte for byte in range(256))


def address(url: str) -> tuple[str, int]:
    """Return host and port of `socket://host:port`."""
    host, _, port = url.removeprefix("socket://").rpartition(":")
    return host, int(port)


@contextmanager
def cut_terminal(url: str, after_bytes: int) -> Iterator[str]:
    """A pseudo-terminal to the board at `url` that vanishes when the host has sent so many bytes, as a plug pulled out."""
    far, near = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    name = os.ttyname(near)
    os.close(near)
    with socket.create_connection(address(url)) as board:
        back = threading.Thread(target=_answers, args=(board, far))
        there = threading.Thread(target=_cut_after, args=(far, board, after_bytes))
        # The host opens its end before the first byte can come; until then the master reads an error.
        held = os.open(name, os.O_RDWR | os.O_NOCTTY)
        back.start()
        there.start()
        try:
            yield name
        finally:
            os.close(held)
            with contextlib.suppress(OSError):
                board.shutdown(socket.SHUT_RDWR)
            there.join(DEADLINE_S)
            back.join(DEADLINE_S)


def _cut_after(far: int, board: socket.socket, after_bytes: int) -> None:
    seen = 0
    try:
        while seen < after_bytes and (data := os.read(far, 64)):
            seen += len(data)
            board.sendall(data)
    except OSError:
        return
    finally:
        with contextlib.suppress(OSError):
            board.shutdown(socket.SHUT_RDWR)
        os.close(far)


def _answers(board: socket.socket, far: int) -> None:
    with contextlib.suppress(OSError):
        while data := board.recv(4096):
            os.write(far, data)


@contextmanager
def changed_line(url: str, to_board: Change, to_host: Change) -> Iterator[str]:
    """A socket to the board at `url` on which what goes either way is changed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_carry_all, args=(server, url, to_board, to_host))
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE_S)


def _carry_all(server: socket.socket, url: str, to_board: Change, to_host: Change) -> None:
    with contextlib.suppress(OSError):
        host, _ = server.accept()
        with host, socket.create_connection(address(url)) as board:
            back = threading.Thread(target=_carry, args=(board, host, to_host))
            back.start()
            _carry(host, board, to_board)
            back.join(DEADLINE_S)


def _carry(source: socket.socket, sink: socket.socket, change: Change) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)


def shout(url: str, count: int, seed: int) -> list[Frame]:
    """Send so many random bytes to a board and then HELLO; return every answer until that to HELLO, the last one.

    A tenth of the bytes are delimiters, so that more stretches between them have the length of a frame.
    """
    noise = random.Random(seed).randbytes(count).translate(RICH_IN_DELIMITERS)
    hello = encode_frame(Frame(Request.HELLO, LAST))
    receiver, answers = Receiver(), list[Frame]()
    with socket.create_connection(address(url)) as board:
        board.settimeout(DEADLINE_S)
        sender = threading.Thread(target=board.sendall, args=(noise + hello,))
        sender.start()
        while not any((one.kind, one.sequence) == (Request.HELLO | ANSWER, LAST) for one in answers):
            data = board.recv(4096)
            assert data, "the board hung up"
            answers += [frame for frame in receiver.feed(data) if frame.kind & 0xC0 == ANSWER]
        sender.join(DEADLINE_S)
    return answers
