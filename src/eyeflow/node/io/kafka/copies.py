"""Copies the audit to a topic of Kafka, in order, as far as the brokers confirm it. Rules never wait for this.

The store stays the point of commit: this reads behind a cursor that is kept there. After a crash between a
confirmation and the cursor a record comes twice: whoever reads drops what it has, by the headers `epoch` and `seq`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any, Protocol, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.control import AuditHead
from eyeflow.node.io.kafka.library import ck, is_fatal, refusal_text, security_of
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.store.cursors import KAFKA
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.audit import Record, decode_record, record_hash
from eyeflow.protocol.audit_bodies import AuditError
from eyeflow.protocol.collecting import KeptHead

AUDIT, EXECUTIONS = "eyeflow.audit", "eyeflow.executions"
"""The topics. Their key is the node's name, so that all records of a node are in one partition, in their order."""
PAGE_BYTES, SMALL_PAGE_BYTES = 256 * 1024, 32 * 1024
"""How much is copied at once, and how much while events come fast: then the next page waits for long."""
WAIT_S, WAIT_S_MAX = 0.02, 1.0
"""How long to wait until the brokers are asked again whether they have all, and how long while they are away."""
FOR_EVER_US = 1 << 62
AT_ONCE = 32
"""Records after which the event loop has its turn: about 1 ms of work. A page in one piece stopped events for 70 ms."""
GIVES_WAY = 9
"""While events come fast, the next page waits so many times as long as the work on one took: live events go first, and
lose a tenth of the time at most. What is not copied then is copied later."""
LIVE_PER_S = 500
"""So many new records a second are fast: a tenth of the time is then no longer enough to copy all of them."""

BEHIND_MAX = 50_000
"""Records that copies stay behind for the sake of events that only come fast. More could fill the buffer in the end."""

T = TypeVar("T")
MakeProducer = Callable[[dict[str, Any]], Any]
View = Callable[[Record], Awaitable[dict[str, Any] | None]]


class Audit(Protocol):
    """What is read of a node (`NodeControl`)."""

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        """Return the first seq behind `seq`, and the records from there."""
        ...

    async def grows_beyond(self, seq: int) -> None:
        """Return once there is a record behind `seq`."""
        ...

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds."""
        ...

    def kept_by(self, destination: str) -> KeptHead | None:
        """Return what a destination holds."""
        ...

    @property
    def audit_head(self) -> AuditHead:
        """Where the chain ends."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether many events wait to be run."""
        ...


class AuditCopies:
    """Runs for ever. `view` returns an execution as people read it, None for a record that is none."""

    def __init__(
        self,
        config: KafkaConfig,
        node: str,
        epoch: int,
        audit: Audit,
        view: View,
        random: Random | None = None,
        make_producer: MakeProducer | None = None,
    ) -> None:
        """Start nothing yet. Raises EyeflowError for a secret or a key that cannot be read."""
        self.status = PortStatus("kafka_copies", counters={"copied": 0, "seq": 0})
        self._node, self._epoch, self._audit, self._view = node, epoch, audit, view
        self._backoff = Backoff(random)
        self._settings: dict[str, Any] = security_of(config, node) | {
            "enable.idempotence": True,
            # Where one is refused, none of those behind it goes before it: this producer takes nothing more then.
            "enable.gapless.guarantee": True,
            # It writes to stderr then, and at each stop with records on their way; `poll` tells it as well.
            "log.queue": True,
            "linger.ms": 5,
            "compression.type": "zstd",
            # A record that timed out by itself would let the next one go before it.
            "message.timeout.ms": 0,
            "error_cb": self._warned,
        }
        self._where = ", ".join(config.servers)
        self._trouble, self._worked_s, self._is_busy = "", 0.0, False
        self._make_producer = make_producer or ck.Producer
        self._time_us_max = FOR_EVER_US
        """Records of earlier times go out with their time, others with that of the copy."""

    async def run(self) -> None:
        """Copy what is there and what comes, until cancelled."""
        known = self._audit.kept_by(KAFKA)
        seq = 0 if known is None else known.seq
        if known is None:  # from now on nothing is dropped as handed on that is not here, too
            await self._audit.note_kept(KAFKA, KeptHead(self._epoch))
        while True:
            producer = self._make_producer(self._settings)
            try:
                while True:
                    await self._audit.grows_beyond(seq)
                    began_s, head_seq, self._worked_s = _now_s(), self._audit.audit_head.seq, 0.0
                    seq = await self._copy_page(producer, seq)
                    newest_seq = self._audit.audit_head.seq
                    await self._give_way(_now_s() - began_s, newest_seq - head_seq, newest_seq - seq)
                    self._backoff.reset()
                    self._show("up", self._where)
            except (ck.KafkaException, BufferError, StorageError, _Unconfirmed, AuditError) as error:
                self._show("failed", f"{self._where}: {_reason(error)}")
                if isinstance(error, _Unconfirmed) and error.code == ck.KafkaError.INVALID_TIMESTAMP:
                    # By default more than an hour ahead of the brokers' clock (KIP-1030). The node's was wrong then.
                    self._time_us_max = min(self._time_us_max, error.time_us)
            finally:
                producer.purge()  # else its end would wait for the brokers
            # One that failed may take nothing more, or in another order: the next one begins behind what is confirmed.
            await asyncio.sleep(self._backoff.next_s())

    async def _copy_page(self, producer: Any, seq: int) -> int:
        """Copy the next records; return the last seq that the brokers have confirmed."""
        _, page = await self._audit.records_after(seq, SMALL_PAGE_BYTES if self._is_busy else PAGE_BYTES)
        records = [decode_record(data) async for data in self._by_turns(page)]
        failed: list[_Unconfirmed] = []
        try:
            async for record, data in self._by_turns(list(zip(records, page, strict=True))):
                self._send(producer, record, data, await self._view(record), failed)
        except ck.KafkaException:
            await self._confirmed(producer, failed)  # raises what a broker said of an earlier record, the reason
            raise
        await self._confirmed(producer, failed)
        last = records[-1]
        await self._audit.note_kept(KAFKA, KeptHead(self._epoch, last.seq, record_hash(page[-1]), last.time_us))
        self.status.counters["copied"] += len(page)
        self.status.counters["seq"] = last.seq
        return last.seq

    async def _by_turns(self, found: Sequence[T]) -> AsyncIterator[T]:
        """Yield each of them, and let events have their turn in between."""
        began_s = _now_s()
        for number, one in enumerate(found, 1):
            yield one
            if number % AT_ONCE == 0:
                self._worked_s += _now_s() - began_s
                await asyncio.sleep(0)
                began_s = _now_s()
        self._worked_s += _now_s() - began_s

    async def _give_way(self, took_s: float, came: int, behind: int) -> None:
        """Let live events go first, where they wait or come fast; `came`: records that are new since the page began."""
        self._is_busy = self._audit.is_full or (came > LIVE_PER_S * took_s and behind < BEHIND_MAX)
        if self._is_busy:
            await asyncio.sleep(GIVES_WAY * self._worked_s)

    def _send(
        self, producer: Any, record: Record, data: bytes, view: dict[str, Any] | None, failed: list[_Unconfirmed]
    ) -> None:
        def told(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(_Unconfirmed(error, record.time_us))

        headers = {"epoch": str(record.epoch), "seq": str(record.seq), "kind": record.kind.name.lower()}
        about: dict[str, Any] = {"headers": headers, "on_delivery": told}
        if record.time_us < self._time_us_max:
            about["timestamp"] = record.time_us // 1000
        key = self._node.encode()
        producer.produce(AUDIT, data, key, **about)
        if view is not None:
            producer.produce(EXECUTIONS, json.dumps(view, separators=(",", ":")).encode(), key, **about)

    async def _confirmed(self, producer: Any, failed: Sequence[_Unconfirmed]) -> None:
        """Return once the brokers have all. They may be away for days: librdkafka tries on, in order."""
        self._trouble, wait_s = "", WAIT_S
        while len(producer):
            began_s = _now_s()
            told = _polled(producer)
            self._worked_s += _now_s() - began_s
            if told:
                wait_s = WAIT_S
            else:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, WAIT_S_MAX) if self._trouble else WAIT_S
            if failed:
                raise failed[0]
            if self._trouble:
                self._show("connecting", f"{self._where}: {self._trouble}")
        if failed:
            raise failed[0]

    def _warned(self, error: Any) -> None:
        """Take what librdkafka says of the brokers; called by `poll`."""
        self._trouble = str(error.str())

    def _show(self, state: str, detail: str) -> None:
        self.status.state, self.status.detail = state, detail


class _Unconfirmed(Exception):  # noqa: N818 - an answer of the brokers
    """The brokers did not take a record of this time."""

    def __init__(self, refusal: Any, time_us: int) -> None:
        super().__init__(str(refusal.str()))
        self.code, self.time_us = refusal.code(), time_us


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _polled(producer: Any) -> int:
    """Hear what became of records; return of how many.

    A producer that takes nothing more says so first, once, and what the brokers said only then.
    """
    try:
        return int(producer.poll(0))
    except ck.KafkaException as error:
        if not is_fatal(error):
            raise
        return 0


def _reason(refusal: Any) -> str:
    if isinstance(refusal, EyeflowError):
        return refusal.brief
    if isinstance(refusal, AuditError):
        return f"a record in the store is not as the node wrote it: {refusal}. Run `eyeflow audit verify`"
    return str(refusal) if isinstance(refusal, _Unconfirmed) else refusal_text(refusal)
