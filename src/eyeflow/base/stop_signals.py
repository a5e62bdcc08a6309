"""The signals that end a daemon cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP, too: a terminal that closes sends it, and the default would end a daemon in the middle of its work."""


@contextmanager
def stop_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop(number)` on the running event loop for each of STOP_SIGNALS while the block runs.

    A signal that whoever started us ignores stays ignored: that is how `nohup` keeps a daemon running.
    """
    loop = asyncio.get_running_loop()
    taken = []
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread: the caller stops us
                loop.add_signal_handler(number, stop, number)
                taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
