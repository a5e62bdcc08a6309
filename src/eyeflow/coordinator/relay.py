"""Asks nodes whose link another coordinator holds: through the store, where that one looks with each of its ticks."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from eyeflow.base.clock import NowUs
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.link_questions import LATE_S, LISTEN_S, Asks, UnaskedError
from eyeflow.coordinator.store.asked import Answer, Asked
from eyeflow.coordinator.store.cluster_store import ClusterStore
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.replays import REPLAY_S_MAX, Replay, Replayed, ReplayProgram, ReplayResult
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, VERSIONS
from eyeflow.protocol.wire import ProtocolError

POLL_S = 0.5
"""How often an answer is looked for."""
KEPT_US = 2 * REPLAY_S_MAX * 1_000_000
"""How long a question is kept whose asker is gone."""

_log = logging.getLogger("eyeflow.coordinator")
_CODEC = VERSIONS[PROTOCOL_VERSION_MAX]


class Relay:
    """The questions of this coordinator to others, and theirs to it. `links` are those that it holds, by node."""

    def __init__(
        self, store: ClusterStore, links: Mapping[str, Asks], clock: NowUs, randbytes: Callable[[int], bytes]
    ) -> None:
        self._store, self._links, self._clock, self._randbytes = store, links, clock, randbytes
        self.listeners: Counter[str] = Counter()
        """Requests for lines that are under way, by board."""
        self._serving: dict[str, asyncio.Task[None]] = {}

    async def ask(
        self, node: str, coordinator: str, programs: Sequence[ReplayProgram], since_us: int, seconds_max: int
    ) -> tuple[ReplayResult, ...]:
        """Return what a node answers whose link `coordinator` holds. Raises UnaskedError."""
        try:
            question = _CODEC.encode(Replay(1, since_us, seconds_max, tuple(programs)))
        except ProtocolError as error:
            raise UnaskedError(error.message) from error
        found = _CODEC.decode(await self._ask(node, coordinator, question, seconds_max + 2 * LATE_S))
        assert isinstance(found, Replayed), "that was asked for"
        return found.results

    async def listen(self, node: str, coordinator: str, since: int | None) -> Listened:
        """Return the lines of a board whose link `coordinator` holds. Raises UnaskedError."""
        found = _CODEC.decode(await self._ask(node, coordinator, _CODEC.encode(Listen(1, since)), 2 * LISTEN_S))
        assert isinstance(found, Listened), "that was asked for"
        return found

    async def _ask(self, node: str, coordinator: str, question: bytes, wait_s: float) -> bytes:
        now_us = self._clock()
        asked = Asked(self._randbytes(16).hex(), node, coordinator, question, now_us)
        await self._store.write(lambda writing: writing.ask(asked, now_us - KEPT_US))
        try:
            async with asyncio.timeout(wait_s):
                answer = await self._answer(asked.id)
        except TimeoutError as error:
            raise UnaskedError(f"the coordinator {coordinator}, which holds its link, did not answer") from error
        finally:
            await self._store.write(lambda writing: writing.forget_asked(asked.id))
        if answer.problem:
            raise UnaskedError(answer.problem)
        return answer.answer

    async def _answer(self, asked_id: str) -> Answer:
        while (found := await self._store.read(lambda reading: reading.answer(asked_id))) is None:
            await asyncio.sleep(POLL_S)
        return found

    async def look(self) -> None:
        """Begin to answer what others ask of the nodes that are linked here. Raises StorageError."""
        self._serving = {one: task for one, task in self._serving.items() if not task.done()}
        for asked in await self._store.read(lambda reading: reading.asked(self._store.own_id)):
            if asked.id not in self._serving:
                self._serving[asked.id] = asyncio.create_task(self._serve(asked))

    async def _serve(self, asked: Asked) -> None:
        try:
            answer = await self._answered(asked)
            await self._store.write(lambda writing: writing.keep_answer(asked.id, answer))
        except EyeflowError as error:  # whoever asked waits no longer than its time
            _log.warning("a question for %s of another coordinator: %s", asked.node, error)

    async def _answered(self, asked: Asked) -> Answer:
        link, question = self._links.get(asked.node), _CODEC.decode(asked.question)
        assert isinstance(question, Replay | Listen), "only these are kept"
        if link is None:
            return Answer(b"", "it is offline")
        try:
            if isinstance(question, Listen):
                return Answer(_CODEC.encode(await link.listen(question.since)), "")
            results = await link.replay(question.programs, question.since_us, question.seconds_max)
        except UnaskedError as error:
            return Answer(b"", error.message)
        return Answer(_CODEC.encode(Replayed(question.number, results)), "")

    def stop(self) -> None:
        """This coordinator ends."""
        for task in self._serving.values():
            task.cancel()
