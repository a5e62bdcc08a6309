"""Hands the audit to the coordinator, as far as that asks for it. Nothing waits for this: neither rules nor the link.

The ask is the acknowledgement of what came before (docs/decisions/0016). What cannot be read now is read later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from eyeflow.node.backoff import Backoff
from eyeflow.node.control import NodeControl
from eyeflow.node.store.cursors import COORDINATOR
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.collecting import (
    STATES_BYTES_MAX,
    STATES_MAX,
    Collect,
    Collected,
    KeptHead,
    SlotState,
    States,
    bundled,
    is_cosigned,
)
from eyeflow.protocol.session import Peer
from eyeflow.protocol.slot import Slot

LINGER_S = 1.0
"""How long the first new record waits for others, so that a quiet node does not send each by itself."""
BYTES_PER_S = 8192 * 1024
STATES_S = 1.0
"""How often the states of the rules are told while records come."""
MANY_RECORDS = 512
"""With so many new records nothing is gained by waiting."""

_log = logging.getLogger("eyeflow.node")

Place = tuple[str, Slot, str]
"""Rule, slot and key."""
Send = Callable[[Collected], Awaitable[None]]


class AuditSender:
    """What one node sends to its coordinator; `send` of the link that is up belongs to each ask."""

    def __init__(self, control: NodeControl, backoff: Backoff, bytes_per_s: int = BYTES_PER_S) -> None:
        self._control, self._backoff, self._bytes_per_s = control, backoff, bytes_per_s
        self._free_s = 0.0
        """From when on the rate lets the next bundle go, on the clock of the event loop."""
        self._answering: asyncio.Task[None] | None = None
        self._told_strange = False
        self._states_due_s = 0.0
        self._told: dict[Place, SlotState] = {}
        """The states that were told over the link that is up."""
        self.kept: KeptHead | None = None
        """What the coordinator of this link holds, once it has said so."""

    def asked(self, ask: Collect, peer: Peer, send: Send) -> None:
        """Answer an ask in a task of its own, in place of one that is not answered yet."""
        self.stop()
        self._answering = asyncio.create_task(self._answer(ask, peer, send))

    def link_ended(self) -> None:
        """Nobody waits for an answer; the next link is told of all states."""
        self.stop()
        self._told, self._states_due_s = {}, 0.0

    def stop(self) -> None:
        """Nobody waits for an answer any more."""
        if self._answering is not None:
            self._answering.cancel()

    async def _answer(self, ask: Collect, peer: Peer, send: Send) -> None:
        try:
            if ask.kept.epoch != self._control.identity.epoch:
                return  # of a chain that this node has lost; the coordinator hears of the new one with the next head
            await self._take_note(ask.kept, peer)
            await send(await self._gathered(ask))
        except Exception:  # a bug here must not cost the node its link
            _log.exception("audit records could not be handed on")

    async def _take_note(self, kept: KeptHead, peer: Peer) -> None:
        """A cursor counts only when the coordinator has signed it: the node may drop what it says is kept."""
        if kept.seq and not is_cosigned(kept, peer.coordinator_id, peer.public_key, self._control.identity.name):
            _log.error("the coordinator says that it holds audit record %d, and has not signed that", kept.seq)
            return
        try:
            is_noted = await self._control.note_kept(COORDINATOR, kept)
        except StorageError:  # the next ask says it again
            return
        if is_noted:
            self.kept = kept
        elif not self._told_strange:
            self._told_strange = True
            _log.error(
                "the coordinator holds another audit record %d of this node than the node itself: an old copy of the "
                "data runs, or two nodes use one identity",
                kept.seq,
            )

    async def _gathered(self, ask: Collect) -> Collected:
        """Return the answer to an ask, once there is something to answer."""
        while True:
            await self._control.grows_beyond(ask.after_seq)
            if self._control.audit_head.seq - ask.after_seq < MANY_RECORDS:
                await asyncio.sleep(LINGER_S)
            try:
                head_seq = self._control.audit_head.seq
                first_seq, records = await self._control.records_after(ask.after_seq, ask.bytes_max)
            except StorageError:  # told by those who must write; here it costs nothing but time
                await asyncio.sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            if records:
                await self._keep_rate(sum(map(len, records)))
                bundle = await asyncio.to_thread(bundled, records)
                last_seq = first_seq + len(records) - 1
                states = await self._states() if last_seq >= head_seq else None
                return Collected(ask.kept.epoch, first_seq, last_seq, max(head_seq, last_seq), bundle, states)

    async def _states(self) -> States | None:
        """Return how the rules stand, at most once in STATES_S; nothing is behind, so the records may wait as long."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._states_due_s - loop.time()))
        self._states_due_s = loop.time() + STATES_S
        try:
            seq, found = await self._control.states()
        except StorageError:
            return None
        held = {(one.rule, one.slot, one.key): one for one in found[:STATES_MAX]}
        due = [one for place, one in held.items() if self._told.get(place) != one]
        changed, left_bytes = list[SlotState](), STATES_BYTES_MAX
        for one in due:
            if len(one.state) <= left_bytes:
                left_bytes -= len(one.state)
                changed.append(one)
        told = {(one.rule, one.slot, one.key): one for one in changed}
        self._told = {place: one for place, one in self._told.items() if place in held} | told
        return States(seq, tuple(held), tuple(changed), len(changed) == len(due))

    async def _keep_rate(self, size_bytes: int) -> None:
        """Wait until the bundles before this one have had their time. An outage is caught up without haste."""
        now_s = asyncio.get_running_loop().time()
        begins_s = max(now_s, self._free_s)
        self._free_s = begins_s + size_bytes / self._bytes_per_s
        if begins_s > now_s:
            await asyncio.sleep(begins_s - now_s)
