"""The line on an event loop: what waits for a port is bounded, and a port that could not be opened is free again."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import until
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.session import Patience


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def stuck_port() -> Iterator[str]:
    """A terminal whose other end reads nothing."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_a_port_that_takes_no_more_bytes_is_told_before_much_waits_for_it(stuck_port: str) -> None:
    async def test() -> None:
        line = await AsyncLine.open(stuck_port, 115_200, Patience(answer_s=0.001, tries=3000))
        with pytest.raises(EyeflowError) as stuck:
            await line.converse(conversations.ping(bytes(120)))
        assert stuck.value.code == "port_stuck"
        line.close()

    asyncio.run(test())


def test_a_port_that_opened_halfway_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(path: str) -> None:
        loop = asyncio.get_running_loop()

        async def refused(*what: object) -> None:
            raise OSError("no more descriptors")

        before = open_files()
        with monkeypatch.context() as patched:
            patched.setattr(loop, "connect_write_pipe", refused)
            with pytest.raises(EyeflowError) as failed:
                await AsyncLine.open(path, 115_200)
        assert failed.value.code == "port_missing"
        await until(lambda: open_files() <= before)
        line = await AsyncLine.open(path, 115_200)  # a port that is still held would be busy
        assert (await line.converse(conversations.hello(path))).chip == "STM32F401CC"
        line.close()

    with plugged_in(BoardDouble()) as path:
        asyncio.run(test(path))


def test_a_line_whose_other_end_hung_up_is_closed_without_an_error() -> None:
    async def test() -> None:
        with plugged_in(BoardDouble()) as path:
            line = await AsyncLine.open(path, 115_200)
        assert line._wire._writing is not None
        line._wire._writing.write(b"x")  # its port is gone
        await until(lambda: line._wire._writing is None)
        line.close()  # asyncio fails here when its transport is aborted once more, and a task would never end

    asyncio.run(test())
