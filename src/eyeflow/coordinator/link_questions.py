"""What a node is asked over its link: one question of a kind at a time, and each with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.outputs import Output, Send
from eyeflow.protocol.replays import Replay, Replayed, ReplayProgram, ReplayResult
from eyeflow.protocol.session import CoordinatorSession
from eyeflow.protocol.wire import ProtocolError

LATE_S = 15
"""How much longer than the time it was given a node is waited for."""
LISTEN_S = 5.0
"""How long the lines of a board are waited for: its gateway has them in memory."""
LISTEN_EVERY_S = 0.1
"""A gateway is not asked for the lines of one board more often than this, however many listen."""

ENDED = "its link ended before it had answered"

A = TypeVar("A", Replayed, Listened)


class UnaskedError(EyeflowError):
    """A node could not be asked, or did not answer; the message says why."""


class Asks(Protocol):
    """A link over which a node can be asked."""

    async def replay(
        self, programs: Sequence[ReplayProgram], since_us: int, seconds_max: int
    ) -> tuple[ReplayResult, ...]:
        """Return where these programs would have decided otherwise on the node. Raises UnaskedError."""
        ...

    async def listen(self, since: int | None) -> Listened:
        """Return the lines of a board from a number on, None: the newest. Raises UnaskedError."""
        ...


class _Questions(Generic[A]):
    """Those of one kind over one link; `what` names them where a node is too old for them."""

    what = ""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._number, self._is_over = 0, False
        self._awaited: asyncio.Future[A] | None = None

    async def _ask(
        self,
        session: CoordinatorSession,
        put: Callable[[bytes], None],
        send: Callable[[int], tuple[Output, ...]],
        wait_s: float,
    ) -> A:
        """Return what the node answers; `send` lets the session ask, by the number of the question."""
        async with self._one_at_a_time:
            if self._is_over:
                raise UnaskedError(ENDED)
            self._number += 1
            try:
                messages = [session.write(one.message) for one in send(self._number) if isinstance(one, Send)]
            except ProtocolError as error:
                raise UnaskedError(error.message) from error
            if not messages:
                raise UnaskedError(f"it is too old: it speaks no protocol version that has {self.what}")
            self._awaited = asyncio.get_running_loop().create_future()
            for message in messages:
                put(message)
            try:
                async with asyncio.timeout(wait_s):
                    return await self._awaited
            except TimeoutError as error:
                raise UnaskedError(f"it did not answer within {wait_s:g} s") from error
            finally:
                self._awaited = None

    def answered(self, answer: A) -> None:
        """The node answered; one to an older question says nothing any more."""
        if answer.number == self._number and self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(answer)

    def link_ended(self) -> None:
        """Whoever waits for an answer waits in vain."""
        self._is_over = True
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(UnaskedError(ENDED))


class Replays(_Questions[Replayed]):
    """Replays of one link."""

    what = "replays"

    async def ask(
        self,
        session: CoordinatorSession,
        put: Callable[[bytes], None],
        programs: Sequence[ReplayProgram],
        since_us: int,
        seconds_max: int,
    ) -> tuple[ReplayResult, ...]:
        """Return what the node answers. `put` sends bytes over the link. Raises UnaskedError."""

        def send(number: int) -> tuple[Output, ...]:
            return session.replay(Replay(number, since_us, seconds_max, tuple(programs)))

        return (await self._ask(session, put, send, seconds_max + LATE_S)).results


class Listens(_Questions[Listened]):
    """Questions for the lines of the board whose link it is."""

    what = "the lines of boards"

    def __init__(self) -> None:
        super().__init__()
        self._next_s = 0.0

    async def ask(self, session: CoordinatorSession, put: Callable[[bytes], None], since: int | None) -> Listened:
        """As `Replays.ask`. Raises UnaskedError also where the node refuses."""
        loop = asyncio.get_running_loop()
        turn_s = max(loop.time(), self._next_s)
        self._next_s = turn_s + LISTEN_EVERY_S
        await asyncio.sleep(turn_s - loop.time())
        try:
            async with asyncio.timeout(LISTEN_S):  # with the wait for its turn
                answer = await self._ask(session, put, lambda number: session.listen(Listen(number, since)), LISTEN_S)
        except TimeoutError as error:
            raise UnaskedError(f"it did not answer within {LISTEN_S:g} s") from error
        if answer.refusal:
            raise UnaskedError(answer.refusal)
        return answer
