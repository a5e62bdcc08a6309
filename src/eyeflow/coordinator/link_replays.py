"""Replays that a node is asked for over its link: one at a time, and each with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.protocol.outputs import Send
from eyeflow.protocol.replays import Replay, Replayed, ReplayProgram, ReplayResult
from eyeflow.protocol.session import CoordinatorSession
from eyeflow.protocol.wire import ProtocolError

LATE_S = 15
"""How much longer than the time it was given a node is waited for."""

ENDED = "its link ended before it had answered"


class UnaskedError(EyeflowError):
    """A node could not be asked, or did not answer; the message says why."""


class Asks(Protocol):
    """A link over which a node can be asked."""

    async def replay(
        self, programs: Sequence[ReplayProgram], since_us: int, seconds_max: int
    ) -> tuple[ReplayResult, ...]:
        """Return where these programs would have decided otherwise on the node. Raises UnaskedError."""
        ...


class Replays:
    """Those of one link."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._number, self._is_over = 0, False
        self._awaited: asyncio.Future[Replayed] | None = None

    async def ask(
        self,
        session: CoordinatorSession,
        put: Callable[[bytes], None],
        programs: Sequence[ReplayProgram],
        since_us: int,
        seconds_max: int,
    ) -> tuple[ReplayResult, ...]:
        """Return what the node answers. `put` sends bytes over the link. Raises UnaskedError."""
        async with self._one_at_a_time:
            if self._is_over:
                raise UnaskedError(ENDED)
            self._number += 1
            try:
                sent = session.replay(Replay(self._number, since_us, seconds_max, tuple(programs)))
                messages = [session.write(output.message) for output in sent if isinstance(output, Send)]
            except ProtocolError as error:
                raise UnaskedError(error.message) from error
            if not messages:
                raise UnaskedError("it is too old: it speaks no protocol version that has replays")
            self._awaited = asyncio.get_running_loop().create_future()
            for message in messages:
                put(message)
            try:
                async with asyncio.timeout(seconds_max + LATE_S):
                    return (await self._awaited).results
            except TimeoutError as error:
                raise UnaskedError(f"it did not answer within {seconds_max + LATE_S} s") from error
            finally:
                self._awaited = None

    def answered(self, answer: Replayed) -> None:
        """The node answered; one to an older question says nothing any more."""
        if answer.number == self._number and self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(answer)

    def link_ended(self) -> None:
        """Whoever waits for an answer waits in vain."""
        self._is_over = True
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(UnaskedError(ENDED))
