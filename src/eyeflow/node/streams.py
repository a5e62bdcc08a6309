"""How far the node has come in streams that a source can read again, such as a partition of Kafka.

The store keeps it in the commits that record the events themselves. So after a crash a source goes on behind exactly
what is recorded: nothing is lost, and no program sees an event again whose execution is on disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from eyeflow.node.run_key import RunKey, candidate
from eyeflow.protocol.slot import Slot


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an event stands in its stream: numbers ascend, and may leave some out."""

    stream: str
    number: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A program has recorded the event at `mark`, and others have not yet."""

    mark: Mark
    key: RunKey


@dataclass(frozen=True, slots=True)
class Progress:
    """What one commit writes: everything before `nexts[stream]` is recorded by all, `ran` by some.

    Of the streams `begun` nothing of before counts: they go on elsewhere.
    """

    nexts: Mapping[str, int] = field(default_factory=dict)
    ran: Sequence[Ran] = ()
    begun: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Stream:
    next: int
    kept: int
    """What is durable of `next`."""
    waiting: dict[int, bool] = field(default_factory=dict)
    """The numbers that were taken and not yet passed, ascending, and whether each is recorded by all."""
    ran: dict[int, set[RunKey]] = field(default_factory=dict)


class Streams:
    """All streams of a node. Its methods belong to the event loop, but for `next_of` and `kept_of`: any thread."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._moved: set[str] = set()
        self._ran: list[Ran] = []
        self._begun: set[str] = set()

    def restore(self, progress: Progress) -> None:
        """Take what the store holds."""
        self._streams = {name: _Stream(number, number) for name, number in progress.nexts.items()}
        for one in progress.ran:
            if (stream := self._streams.get(one.mark.stream)) is not None:
                stream.ran.setdefault(one.mark.number, set()).add(one.key)

    def next_of(self, name: str) -> int | None:
        """Return the number after the last event that all have recorded without a hole, None of an unknown stream."""
        stream = self._streams.get(name)
        return None if stream is None else stream.next

    def kept_of(self, name: str) -> int | None:
        """Return the same as far as it is durable."""
        stream = self._streams.get(name)
        return None if stream is None else stream.kept

    def go_to(self, name: str, number: int) -> None:
        """Go on at this number, whatever was before: it is where the stream begins, or where somebody put it."""
        self._streams[name] = _Stream(number, number)
        self._ran = [one for one in self._ran if one.mark.stream != name]
        self._moved.add(name)
        self._begun.add(name)

    def knows(self, prefix: str) -> bool:
        """Say whether there is a stream whose name begins so."""
        return any(name.startswith(prefix) for name in self._streams)

    def left(self, mark: Mark, keys: Collection[RunKey]) -> frozenset[RunKey] | None:
        """Return which of the programs that listen have not recorded an event yet, None for all of them."""
        stream = self._streams.get(mark.stream)
        ran = stream.ran.get(mark.number) if stream else None
        if not ran:
            return None
        # A candidate that became the active program has run what it had recorded before.
        promoted = {RunKey(one.rule, Slot.ACTIVE) for one in ran if candidate(one.rule) not in keys}
        return frozenset(keys) - ran - promoted

    def take(self, mark: Mark) -> None:
        """An event is on its way to the programs that listen."""
        if mark.stream not in self._streams:
            self.go_to(mark.stream, mark.number)
        self._streams[mark.stream].waiting.setdefault(mark.number, False)

    def ran_by(self, mark: Mark, key: RunKey) -> None:
        """The next commit records what one program made of an event that others still wait for."""
        self._ran.append(Ran(mark, key))

    def done(self, mark: Mark) -> None:
        """The next commit records what the last program made of an event, or that nobody is to run it."""
        stream = self._streams.get(mark.stream)
        if stream is None or mark.number not in stream.waiting:
            return
        stream.waiting[mark.number] = True
        while stream.waiting and stream.waiting[number := next(iter(stream.waiting))]:
            del stream.waiting[number]
            stream.ran.pop(number, None)
            stream.next = max(stream.next, number + 1)
            self._moved.add(mark.stream)

    def changes(self) -> Progress:
        """Return what the next commit shall write, and forget that it is to be written."""
        if not self._moved and not self._ran:
            return NOTHING
        nexts = {name: self._streams[name].next for name in sorted(self._moved)}
        progress = Progress(nexts, tuple(self._ran), frozenset(self._begun))
        self._moved, self._ran, self._begun = set(), [], set()
        return progress

    def were_kept(self, progress: Progress) -> None:
        """These changes are durable."""
        for name, number in progress.nexts.items():
            stream = self._streams[name]
            if number <= stream.next:  # else it was put back meanwhile
                stream.kept = max(stream.kept, number)

    def were_not_kept(self, progress: Progress) -> None:
        """These changes are not: a later commit shall write them."""
        self._moved |= progress.nexts.keys()
        self._ran = [*(one for one in progress.ran if one.mark.stream not in self._begun), *self._ran]
        self._begun |= progress.begun

    @property
    def has_changes(self) -> bool:
        """Whether something is to be written."""
        return bool(self._moved)


NOTHING = Progress()
