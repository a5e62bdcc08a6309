"""Copies the audit to a topic of Kafka, in order, as far as the brokers confirm it. Rules never wait for this.

The store stays the point of commit: this reads behind a cursor that is kept there. After a crash between a
confirmation and the cursor a record comes twice: whoever reads drops what it has, by the headers `epoch` and `seq`.
It runs in a process of its own (`copy_process`, docs/decisions/0029).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

import msgspec

from eyeflow.audit.view import finite, record_view
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.kafka.library import ck, is_fatal, refusal_text
from eyeflow.protocol.audit import Record, decode_record, record_hash
from eyeflow.protocol.audit_bodies import AuditError, ExecutionBody
from eyeflow.protocol.collecting import KeptHead
from eyeflow.svm.container import decode
from eyeflow.svm.program import Program

AUDIT, EXECUTIONS = "eyeflow.audit", "eyeflow.executions"
"""The topics. Their key is the node's name, so that all records of a node are in one partition, in their order."""
WAIT_S, WAIT_S_MAX, FLUSH_S = 0.002, 1.0, 0.003
"""How long to wait until the brokers are asked again whether they have all, and how long while they are away; how long
what lingers is told to go each time."""
LINGER_S, FEW_RECORDS = 0.5, 512
"""After a page with few records the next ones gather for so long: each page costs the node some work, too."""
FOR_EVER_US = 1 << 62
PROGRAMS_MAX = 64
"""Programs that are kept decoded, to show executions with their names."""

MakeProducer = Callable[[dict[str, Any]], Any]
_JSON = msgspec.json.Encoder(enc_hook=str)  # a `Word`, as the member of an enum, is a text, too


class Audit(Protocol):
    """What is asked of the node."""

    async def after(self, kept: KeptHead) -> Sequence[bytes]:
        """Take note that the brokers hold what `kept` says; return what follows once there is some. Raises Unread."""
        ...

    async def program(self, program_id: bytes) -> bytes | None:
        """Return a program that the node has stored. Raises Unread."""
        ...

    def show(self, state: str, detail: str) -> None:
        """Show how the copies do, as a `PortStatus`."""
        ...


class Unread(Exception):  # noqa: N818 - an answer of the node
    """The node cannot read its store now; the text says why."""


class AuditCopies:
    """Runs for ever. `settings` are those of librdkafka, `where` are the brokers that a person knows."""

    def __init__(
        self,
        settings: dict[str, Any],
        where: str,
        node: str,
        audit: Audit,
        random: Random | None = None,
        make_producer: MakeProducer = ck.Producer,
    ) -> None:
        self._node, self._where, self._audit = node.encode(), where, audit
        self._backoff = Backoff(random)
        self._settings = settings | {
            "enable.idempotence": True,
            # Where one is refused, none of those behind it goes before it: this producer takes nothing more then.
            "enable.gapless.guarantee": True,
            # It writes to stderr then, and at each stop with records on their way; `flush` tells it as well.
            "log.queue": True,
            # A page goes out when it is whole (`_flushed`): one batch for each topic. The broker syncs each batch.
            "linger.ms": 1000,
            "compression.type": "zstd",
            # A record that timed out by itself would let the next one go before it.
            "message.timeout.ms": 0,
            "error_cb": self._warned,
        }
        self._trouble, self._told = "", ("", "")
        self._make_producer = make_producer
        self._programs: dict[bytes, Program | None] = {}
        self._time_us_max = FOR_EVER_US
        """Records of earlier times go out with their time, others with that of the copy."""

    async def run(self, kept: KeptHead) -> None:
        """Copy what is behind `kept` and what comes, until cancelled."""
        while True:
            producer = self._make_producer(self._settings)
            try:
                while True:
                    page = await self._audit.after(kept)
                    kept = await self._copy(producer, page)
                    self._backoff.reset()
                    self._show("up", self._where)
                    if len(page) < FEW_RECORDS:
                        await asyncio.sleep(LINGER_S)
            except (ck.KafkaException, BufferError, Unread, _Unconfirmed, AuditError) as error:
                self._show("failed", f"{self._where}: {_reason(error)}")
                if isinstance(error, _Unconfirmed) and error.code == ck.KafkaError.INVALID_TIMESTAMP:
                    # By default more than an hour ahead of the brokers' clock (KIP-1030). The node's was wrong then.
                    self._time_us_max = min(self._time_us_max, error.time_us)
            finally:
                producer.purge()  # else its end would wait for the brokers
            # One that failed may take nothing more, or in another order: the next one begins behind what is confirmed.
            await asyncio.sleep(self._backoff.next_s())

    async def _copy(self, producer: Any, page: Sequence[bytes]) -> KeptHead:
        """Copy records; return what the brokers hold then."""
        records = [decode_record(data) for data in page]
        failed: list[_Unconfirmed] = []
        try:
            for record, data in zip(records, page, strict=True):
                self._send(producer, record, data, await self._view(record), failed)
        except ck.KafkaException:
            await self._confirmed(producer, failed)  # raises what a broker said of an earlier record, the reason
            raise
        await self._confirmed(producer, failed)
        last = records[-1]
        return KeptHead(last.epoch, last.seq, record_hash(page[-1]), last.time_us)

    async def _view(self, record: Record) -> bytes | None:
        """Return an execution as people read it, in JSON; None for another record."""
        if not isinstance(record.body, ExecutionBody):
            return None
        program_id = record.body.program
        if program_id not in self._programs:
            data = await self._audit.program(program_id)
            self._programs = dict(list(self._programs.items())[1 - PROGRAMS_MAX :])
            self._programs[program_id] = decode(data).program if data else None
        view = record_view(record, self._programs.get)
        text = _JSON.encode(view)
        # It writes null for a float that JSON has not, which goes as text.
        return _JSON.encode(finite(view)) if b":null" in text else text

    def _send(self, producer: Any, record: Record, data: bytes, view: bytes | None, failed: list[_Unconfirmed]) -> None:
        def told(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(_Unconfirmed(error, record.time_us))

        headers = {"epoch": str(record.epoch), "seq": str(record.seq), "kind": record.kind.name.lower()}
        about: dict[str, Any] = {"headers": headers, "on_delivery": told}
        if record.time_us < self._time_us_max:
            about["timestamp"] = record.time_us // 1000
        producer.produce(AUDIT, data, self._node, **about)
        if view is not None:
            producer.produce(EXECUTIONS, view, self._node, **about)

    async def _confirmed(self, producer: Any, failed: Sequence[_Unconfirmed]) -> None:
        """Return once the brokers have all. They may be away for days: librdkafka tries on, in order."""
        self._trouble, wait_s = "", WAIT_S
        while len(producer):
            if _flushed(producer):
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
        """Take what librdkafka says of the brokers; called by `flush`."""
        self._trouble = str(error.str())

    def _show(self, state: str, detail: str) -> None:
        if self._told != (state, detail):
            self._told = (state, detail)
            self._audit.show(state, detail)


class _Unconfirmed(Exception):  # noqa: N818 - an answer of the brokers
    """The brokers did not take a record of this time."""

    def __init__(self, refusal: Any, time_us: int) -> None:
        super().__init__(str(refusal.str()))
        self.code, self.time_us = refusal.code(), time_us


def _flushed(producer: Any) -> bool:
    """Let nothing linger for a moment, and hear what became of records; return whether of any.

    A producer that takes nothing more says so first, once, and what the brokers said only then.
    """
    before = len(producer)
    try:
        return bool(producer.flush(FLUSH_S) < before)
    except ck.KafkaException as error:
        if not is_fatal(error):
            raise
        return False


def _reason(refusal: Any) -> str:
    if isinstance(refusal, AuditError):
        return f"a record in the store is not as the node wrote it: {refusal}. Run `eyeflow audit verify`"
    return str(refusal) if isinstance(refusal, _Unconfirmed | Unread) else refusal_text(refusal)
