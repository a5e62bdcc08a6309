"""Copies the audit to a topic of Kafka, in order, as far as the brokers confirm it. Rules never wait for this.

The store stays the point of commit: this reads behind a cursor that is kept there. After a crash between a
confirmation and the cursor a record comes twice: whoever reads drops what it has, by the headers `epoch` and `seq`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.io.kafka.library import ck, refusal_text, security_of
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.audit import Record, decode_record, record_hash
from eyeflow.protocol.collecting import KeptHead

_log = logging.getLogger("eyeflow.node")

AUDIT, EXECUTIONS = "eyeflow.audit", "eyeflow.executions"
"""The topics. Their key is the node's name, so that all records of a node are in one partition, in their order."""
DESTINATION = "kafka"
PAGE_BYTES = 256 * 1024
CONFIRM_S = 30.0
WAIT_S = 0.1

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


class AuditCopies:
    """Runs for ever. `view` returns an execution as people read it, None for a record that is none."""

    def __init__(self, config: KafkaConfig, node: str, epoch: int, audit: Audit, view: View) -> None:
        """Start nothing yet. Raises EyeflowError for a secret or a key that cannot be read."""
        self.status = PortStatus("kafka_copies", counters={"copied": 0, "seq": 0})
        self._node, self._epoch, self._audit, self._view = node, epoch, audit, view
        self._backoff = Backoff()
        self._settings: dict[str, Any] = security_of(config, node) | {
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": "zstd",
            "message.timeout.ms": int(CONFIRM_S * 1000),
        }
        self._where = ", ".join(config.servers)

    async def run(self) -> None:
        """Copy what is there and what comes, until cancelled."""
        known = self._audit.kept_by(DESTINATION)
        seq = 0 if known is None else known.seq
        if known is None:  # from now on nothing is dropped as handed on that is not here, too
            await self._note(KeptHead(self._epoch))
        producer = ck.Producer(self._settings)
        while True:
            await self._audit.grows_beyond(seq)
            try:
                seq = await self._copy_page(producer, seq)
            except (ck.KafkaException, BufferError, StorageError, _Unconfirmed) as error:
                self._show("connecting", f"{self._where}: {_reason(error)}")
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()
                self._show("up", self._where)

    async def _copy_page(self, producer: Any, seq: int) -> int:
        """Copy the next records; return the last seq that the brokers have confirmed."""
        _, page = await self._audit.records_after(seq, PAGE_BYTES)
        records = [decode_record(data) for data in page]
        views = [await self._view(record) for record in records]
        await asyncio.to_thread(self._produce, producer, records, page, views)
        last = records[-1]
        kept = KeptHead(self._epoch, last.seq, record_hash(page[-1]), last.time_us)
        await self._note(kept)
        self.status.counters["copied"] += len(page)
        self.status.counters["seq"] = last.seq
        return last.seq

    def _produce(
        self, producer: Any, records: Sequence[Record], page: Sequence[bytes], views: Sequence[dict[str, Any] | None]
    ) -> None:
        """Send records, and return once all are confirmed. Raises `_Unconfirmed` when one is not."""
        failed: list[str] = []

        def told(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(str(error.str()))

        key = self._node.encode()
        for record, data, view in zip(records, page, views, strict=True):
            headers = {"epoch": str(record.epoch), "seq": str(record.seq), "kind": record.kind.name.lower()}
            about: dict[str, Any] = {"headers": headers, "timestamp": record.time_us // 1000, "on_delivery": told}
            producer.produce(AUDIT, data, key, **about)
            if view is not None:
                producer.produce(EXECUTIONS, json.dumps(view, separators=(",", ":")).encode(), key, **about)
            producer.poll(0)
        ends_s = time.monotonic() + 2 * CONFIRM_S
        while producer.flush(WAIT_S) and time.monotonic() < ends_s:
            continue
        if failed or len(producer):
            producer.purge()
            raise _Unconfirmed(failed[0] if failed else "the brokers do not confirm")

    async def _note(self, kept: KeptHead) -> None:
        try:
            await self._audit.note_kept(DESTINATION, kept)
        except StorageError as error:  # the next page says it again
            _log.debug("the cursor of Kafka is not kept yet: %s", error.brief)

    def _show(self, state: str, detail: str) -> None:
        self.status.state, self.status.detail = state, detail


class _Unconfirmed(Exception):  # noqa: N818 - an answer of the brokers
    """The brokers did not take a record; the text is theirs."""


def _reason(refusal: Any) -> str:
    if isinstance(refusal, EyeflowError):
        return refusal.brief
    return str(refusal) if isinstance(refusal, _Unconfirmed) else refusal_text(refusal)
