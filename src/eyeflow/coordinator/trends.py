"""What the cluster and its nodes did: a point for each minute of a day, and for each hour of a month.

A block holds the points of an hour by minutes, or of a day by hours, sixteen bytes each. What is new is written each
quarter of an hour, and when the coordinator stops. A row of each node in each minute would be most of what the disk
writes. A crash loses a quarter of an hour of this, and nothing else.

Each coordinator keeps what its own links tell. The trend of the cluster is the sum of all that were kept. Where several
share a store, each writes its sums every minute: they are of one time.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan, nan
from struct import Struct

from eyeflow.base.record import dataclass
from eyeflow.coordinator.rates import Rates
from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing
from eyeflow.coordinator.store.trends import CLUSTER, Block, Span

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
POINT_US = {Span.MINUTE: MINUTE_US, Span.HOUR: HOUR_US}
BLOCK_US = {Span.MINUTE: HOUR_US, Span.HOUR: DAY_US}
KEPT_US = {Span.MINUTE: DAY_US, Span.HOUR: 31 * DAY_US}
"""How far back points go."""
WRITE_US = 15 * MINUTE_US
SETTLED_US = 2 * MINUTE_US
"""When every coordinator has written its sums of a minute, counted from where that began."""
STEP_NODES = 200
"""Nodes in one step of the store: others write in between."""
_POINT = Struct("<ffHHee")
BLOCK_BYTES_MAX = 60 * _POINT.size


@dataclass(frozen=True, slots=True)
class Point:
    """What was in a minute or an hour; of several nodes the sums, and the means of the percents (NaN: not known).

    `minutes` is from how many minutes it comes, 0: nothing is known. `active` is how many nodes were heard, on average.
    """

    executions: float = 0.0
    errors: float = 0.0
    active: int = 0
    minutes: int = 0
    processor: float = nan
    memory: float = nan


def mean(points: Sequence[Point]) -> Point:
    """Return an hour of these minutes."""
    return Point(
        sum(p.executions for p in points) / len(points),
        sum(p.errors for p in points) / len(points),
        round(sum(p.active for p in points) / len(points)),
        sum(p.minutes for p in points),
        _mean((p.processor, 1) for p in points),
        _mean((p.memory, 1) for p in points),
    )


def together(points: Sequence[Point]) -> Point:
    """Return what several nodes, or coordinators, did in the same time.

    A coordinator that ran for a part of an hour counts for that part: others have the nodes for the rest of it.
    """
    minutes = max((p.minutes for p in points), default=0)
    shares = [(p, p.minutes / minutes if p.minutes < minutes - 1 else 1.0) for p in points]  # 1 minute: not written yet
    return Point(
        sum(p.executions * share for p, share in shares),
        sum(p.errors * share for p, share in shares),
        round(sum(p.active * share for p, share in shares)),
        minutes,
        _mean((p.processor, p.active * share) for p, share in shares),
        _mean((p.memory, p.active * share) for p, share in shares),
    )


def _mean(weighted: Iterable[tuple[float, float]]) -> float:
    known = [(value, weight) for value, weight in weighted if not isnan(value) and weight]
    weights = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / weights if weights else nan


class Trends:
    """Samples the nodes with a link in each whole minute; `rates` is what they told. Lives on the event loop."""

    def __init__(self, store: ClusterStore, rates: Mapping[str, Rates], now_us: int) -> None:
        self._store, self._rates = store, rates
        self._cluster = f"{CLUSTER}{store.own_id}"
        self._sampled, self._written_us, self._began_us = now_us // MINUTE_US, now_us, now_us
        self._new: dict[str, dict[int, Point]] = {}
        """What is not written yet: by node and by the time of the point."""

    async def look(self, links: Iterable[str], now_us: int) -> None:
        """Take a point of each node that has a link, once a minute; write what is new, each quarter of an hour."""
        minute = now_us // MINUTE_US
        if minute != self._sampled:
            self._sampled = minute
            if (minute - 1) * MINUTE_US >= self._began_us:  # else nodes were about to connect: it would be a false zero
                self._sample(links, (minute - 1) * MINUTE_US)
            if self._store.is_shared:
                await self._write([self._cluster])
        if not 0 <= now_us - self._written_us < WRITE_US:
            await self.write_down(now_us)

    def _sample(self, links: Iterable[str], at_us: int) -> None:
        found = {node: point_of(self._rates[node]) for node in links if node in self._rates}
        for node, point in (found | {self._cluster: together([Point(minutes=1), *found.values()])}).items():
            self._new.setdefault(node, {})[at_us] = point

    async def write_down(self, now_us: int) -> None:
        """Make durable what was sampled. Raises EyeflowError when the store takes nothing: it is kept for later."""
        self._written_us = now_us
        await self._write(list(self._new))
        await self._store.write(lambda writing: _forget(writing, now_us))

    async def _write(self, names: Sequence[str]) -> None:
        for first in range(0, len(names), STEP_NODES):
            some = {name: self._new[name] for name in names[first : first + STEP_NODES] if name in self._new}
            await self._store.write(lambda writing, some=some: _keep(writing, some))  # type: ignore[misc]
            for name in some:
                self._new.pop(name, None)

    def forget(self, node: str) -> None:
        """The node was removed."""
        self._new.pop(node, None)

    def recent(self, node: str, span: Span) -> tuple[str, Mapping[int, Point]]:
        """Return the name in blocks of a node, or of the nodes here (CLUSTER), and what may not be written yet."""
        name = self._cluster if node == CLUSTER else node
        return name, dict(self._new.get(name, {})) if span is Span.MINUTE else {}

    def settled_us(self, node: str, now_us: int) -> int:
        """Return until when points are what they stay: others may have to write their part of the newest one."""
        return now_us - SETTLED_US if node == CLUSTER and self._store.is_shared else now_us


def point_of(rates: Rates) -> Point:
    """Return what a node does now."""
    executions, errors = rates.a_minute()
    return Point(executions or 0.0, errors or 0.0, 1, 1, *rates.machine)


def _keep(writing: Writing, new: Mapping[str, Mapping[int, Point]]) -> None:
    for node, points in new.items():
        if not node.startswith(CLUSTER) and writing.node(node) is None:
            continue  # it was removed meanwhile
        hours = {_start(Span.MINUTE, at_us) for at_us in points}
        minutes = {start_us: _merged(writing, node, Span.MINUTE, start_us, points) for start_us in hours}
        by_hour = {start_us: mean(list(found.values())) for start_us, found in minutes.items()}
        for start_us in {_start(Span.HOUR, start_us) for start_us in by_hour}:
            _merged(writing, node, Span.HOUR, start_us, by_hour)


def _merged(writing: Writing, node: str, span: Span, start_us: int, points: Mapping[int, Point]) -> dict[int, Point]:
    """Write the points of one block beside those that it has; return all of them."""
    kept = [one for one in writing.trend(node, span, start_us) if one.start_us == start_us]
    found = dict(at for one in kept for at in unpack(one))
    found |= {at_us: point for at_us, point in points.items() if _start(span, at_us) == start_us}
    writing.keep_trend(pack(node, span, start_us, found))
    return found


def _forget(writing: Writing, now_us: int) -> None:
    for span, kept_us in KEPT_US.items():
        writing.forget_trends(span, now_us - kept_us - BLOCK_US[span])


def _start(span: Span, at_us: int) -> int:
    return at_us - at_us % BLOCK_US[span]


def pack(node: str, span: Span, start_us: int, points: Mapping[int, Point]) -> Block:
    """Return points as a block that begins at `start_us`."""
    packed = bytearray(BLOCK_US[span] // POINT_US[span] * _POINT.size)
    for at_us, one in points.items():
        values = (one.executions, one.errors, one.active, one.minutes, one.processor, one.memory)
        _POINT.pack_into(packed, (at_us - start_us) // POINT_US[span] * _POINT.size, *values)
    return Block(node, span, start_us, zlib.compress(packed, 1))


def unpack(block: Block) -> Iterator[tuple[int, Point]]:
    """Yield the points of a block with their times."""
    packed = zlib.decompressobj().decompress(block.points, BLOCK_BYTES_MAX)
    for number, values in enumerate(_POINT.iter_unpack(packed)):
        if (point := Point(*values)).minutes:
            yield block.start_us + number * POINT_US[block.span], point


def trend(blocks: Iterable[Block], recent: tuple[str, Mapping[int, Point]]) -> list[tuple[int, Point]]:
    """Return points in their order. Those of several coordinators at one time are one.

    `recent` were taken before `blocks` were read: what was written between is in both, and counts once.
    """
    found: dict[int, dict[str, Point]] = defaultdict(dict)
    for block in blocks:
        for at_us, point in unpack(block):
            found[at_us][block.node] = point
    name, points = recent
    for at_us, point in points.items():
        found[at_us][name] = point
    return [(at_us, together(list(by_name.values()))) for at_us, by_name in sorted(found.items())]
