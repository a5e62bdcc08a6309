"""Disks of nodes: their stores, images and clones of them, and the talk with the real link of a coordinator."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from starlette.websockets import WebSocket

from eyeflow.coordinator.link import _Link
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Draft
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.audit_bodies import StartBody
from eyeflow.protocol.collecting import BUNDLE_RECORDS_MAX, Collect, Collected, bundled
from eyeflow.protocol.messages import BOOT_BYTES, Head, Recall, Recalled
from eyeflow.protocol.opening import OPENING, Hello
from eyeflow.protocol.versions import VERSIONS
from unit.node.store.stores import KEY, Time, batch, limits

WIRE = VERSIONS[3]


@dataclass
class Disk:
    """One disk of the node `name`, with the process that runs on it: `boot` is of its last start."""

    path: Path
    name: str
    boot: bytes = b""
    written: int = 0

    def start(self, random: Random) -> None:
        """A start of the node's process: it writes a record."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.boot = random.randbytes(BOOT_BYTES)
        with_start = Batch([Draft(1_700_000_000_000_000, StartBody("test", KEY.public_key, True))])
        self._commit(with_start)

    def run(self, count: int, random: Random) -> None:
        """Record `count` executions, of events that nobody else had."""
        if count:
            self._commit(batch(*(random.randrange(1 << 40) for _ in range(count))))

    def _commit(self, what: Batch) -> None:
        store = self.store()
        store.commit(what)
        store.close(clean=True)

    def store(self) -> Store:
        return Store(self.path, self.name, KEY, limits(), now_us=Time().now)

    def image(self, path: Path) -> Disk:
        """Return a copy of this disk as it is now."""
        shutil.copytree(self.path, path)
        return Disk(path, self.name, self.boot)

    def records(self) -> list[bytes]:
        store = self.store()
        found = store.audit_range(1, 1 << 20)
        store.close(clean=True)
        return found

    def forget_cursors(self) -> None:
        """Lose what the coordinator said that it holds."""
        store = self.store()
        store._file.db.execute("DELETE FROM cursors")
        store.close(clean=True)


class Talk:
    """What one disk's process says over one link of its own, until it is in doubt or wholly copied."""

    def __init__(self, api: Any, disk: Disk, address: str) -> None:
        self.api, self.disk = api, disk
        scope = {"type": "websocket", "client": (address, 1)}
        self.link = _Link(api.hub, WebSocket(scope, None, None), disk.name)  # type: ignore[arg-type]

    async def speak(self, bundles_max: int = 1 << 20) -> None:
        """Dial, and answer whatever is asked; stop answering after so many bundles: the link is cut then."""
        records = self.disk.records()
        store = self.disk.store()
        epoch = store.epoch
        store.close(clean=True)
        hub, link, name = self.api.hub, self.link, self.disk.name
        await hub.attach(link)
        await link.open()
        await link._take(OPENING.encode(Hello(2, 3, "", name, 0, bytes(32))))
        head = Head(self.disk.boot, epoch, len(records), record_hash(records[-1]))
        await link._take(WIRE.encode(head))
        late: list[Recall] = []
        while not hub.nodes.is_doubtful(name):
            if late and link._outbox.empty() and link._collector._working is None:
                await link._take(WIRE.encode(_recalled(epoch, records, late.pop())))
                continue
            asked = await self._asked()
            if isinstance(asked, Recall):
                late.append(asked)  # a node may answer this after all else
            elif isinstance(asked, Collect):
                if asked.kept.seq >= len(records) or bundles_max == 0:
                    break
                bundles_max -= 1
                if asked.after_seq < len(records):
                    await link._take(WIRE.encode(_collected(epoch, records, asked)))
        await self.hang_up()

    async def _asked(self) -> Any:
        """Return what the coordinator says next, None when it says nothing more: it has found a contradiction."""
        link = self.link
        getting = asyncio.ensure_future(link._outbox.get())
        while not getting.done():
            working = link._collector._working
            await asyncio.wait({getting, *([working] if working is not None else [])}, return_when="FIRST_COMPLETED")
            if not getting.done() and working is not None and working.done():
                getting.cancel()
                return None
        data = getting.result()
        try:
            return WIRE.decode(data)  # type: ignore[arg-type]
        except Exception:
            return None  # WELCOME

    async def hang_up(self) -> None:
        self.link._collector.stop()
        await self.api.hub.detach(self.link)


def _recalled(epoch: int, records: list[bytes], asked: Recall) -> Recalled:
    known = records[asked.seq - 1] if asked.epoch == epoch and 0 < asked.seq <= len(records) else b""
    return Recalled(asked.epoch, asked.seq, record_hash(known) if known else b"")


def _collected(epoch: int, records: list[bytes], asked: Collect) -> Collected:
    sent = records[asked.after_seq : asked.after_seq + min(8, BUNDLE_RECORDS_MAX)]
    first = asked.after_seq + 1
    return Collected(epoch, first, first + len(sent) - 1, len(records), bundled(sent), None)
