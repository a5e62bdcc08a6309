"""Answers a replay that the coordinator asks for: candidates on the node's own audit records, beside all that runs.

The records are read page by page between the commits of the store, and run in a thread, for half of the time at most.
Nothing of the node changes by it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial

from eyeflow.audit.memory import FindProgram, Known
from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import internal
from eyeflow.node.clock import Clock
from eyeflow.node.engine.installer import Installer
from eyeflow.node.replay.recorded import Candidate, RecordedRule
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import SlotRow
from eyeflow.node.store.writer import Writer
from eyeflow.protocol.audit import Record, decode_record
from eyeflow.protocol.audit_bodies import UNRECORDED
from eyeflow.protocol.replays import Replay, Replayed, ReplayProgram, ReplayResult, bounded
from eyeflow.protocol.wire import REASON_CHARS_MAX, cut
from eyeflow.svm.container import decode
from eyeflow.svm.instance import Instance
from eyeflow.svm.verify import verify

PAGE_RECORDS = 500
"""Records that are read at once: a longer read would keep commits waiting."""
SEARCHED_RULES_MAX = 16
"""Up to so many rules their names are searched in a record before it is decoded, which costs 20 times as much."""
ANSWER_S = 1.0
"""What is left of the time for the answer."""

_log = logging.getLogger("eyeflow.node")


class HistoryReplay:
    """One replay on the records of a node."""

    def __init__(self, asked: Replay, writer: Writer, installer: Installer, clock: Clock) -> None:
        self._asked, self._writer, self._installer, self._clock = asked, writer, installer, clock
        self._began_us = clock.steady_us()
        self._rules: dict[str, RecordedRule] = {}
        self._refused: dict[str, str] = {}

    async def run(self) -> Replayed:
        """Return the answer. It comes in time, whatever is in the way."""
        for one in self._asked.programs:
            try:
                self._rules[one.rule] = await self._prepared(one)
            except EyeflowError as error:
                self._refused[one.rule] = error.brief
        end = ""
        if self._rules:
            try:
                end = await self._read_all()
            except EyeflowError as error:
                end = error.brief
        return Replayed(self._asked.number, bounded([self._result(one, end) for one in self._asked.programs]))

    async def _prepared(self, one: ReplayProgram) -> RecordedRule:
        loaded = await self._installer.checked(one.program)
        if (loaded.program.rule, loaded.program_id.hex()) != (one.rule, one.program_id):
            raise EyeflowError("another program came than was asked for")
        params = dict(one.params)
        Instance(loaded.verified, params)  # it raises for parameters that it does not take
        rows = self._installer.rows_of(one.rule)
        candidate = Candidate(loaded.verified, loaded.program_id, params)
        return RecordedRule(candidate, self._asked.since_us, _found_in(rows))

    async def _read_all(self) -> str:
        """Run through the records; return why not to the end, empty when it came there."""
        last_seq, at = self._writer.store.head[0], 1
        is_warm = False
        take = partial(_take, self._rules, self._refused, _needed(self._rules))
        while at <= last_seq:
            page = await self._writer.run(partial(_page, from_seq=at))
            if not page:
                return ""
            began_us = self._clock.steady_us()
            seq, time_us = await asyncio.to_thread(take, page)
            busy_s = (self._clock.steady_us() - began_us) / 1e6
            at = seq + 1
            is_warm |= time_us >= self._asked.since_us
            if self._left_s() < ANSWER_S:
                return f"its time of {self._asked.seconds_max} s was over"
            if not is_warm and self._left_s() < self._asked.seconds_max / 2:
                at, is_warm = max(at, await self._first_since(at, last_seq)), True
                for rule in self._rules.values():
                    rule.forget_memory()
            await self._clock.sleep(busy_s)
        return ""

    def _left_s(self) -> float:
        return self._asked.seconds_max - (self._clock.steady_us() - self._began_us) / 1e6

    async def _first_since(self, low: int, high: int) -> int:
        """Return about the first record since the span began: the clock may have been set, so times need not ascend."""
        while low < high:
            middle = (low + high) // 2
            found = await self._writer.run(lambda store, seq=middle: store.audit_range(seq, 1))  # type: ignore[misc]
            if found and decode_record(found[0]).time_us < self._asked.since_us:
                low = middle + 1
            else:
                high = middle
        return low

    def _result(self, one: ReplayProgram, end: str) -> ReplayResult:
        refusal = self._refused.get(one.rule, "")
        if (rule := self._rules.get(one.rule)) is not None:
            return rule.result(refusal or end)
        return ReplayResult(one.rule, one.program_id, cut(refusal, REASON_CHARS_MAX))


def _page(store: Store, from_seq: int) -> list[bytes]:
    return store.audit_range(from_seq, PAGE_RECORDS)


def _needed(rules: Mapping[str, RecordedRule]) -> re.Pattern[bytes] | None:
    """Return what is in every record that a replay of these rules needs; None: look at all."""
    if len(rules) > SEARCHED_RULES_MAX:
        return None
    return re.compile(b"|".join(re.escape(one.encode()) for one in (*rules, UNRECORDED)))


def _take(
    rules: Mapping[str, RecordedRule],
    refused: dict[str, str],
    needed: re.Pattern[bytes] | None,
    page: Sequence[bytes],
) -> tuple[int, int]:
    """Run a page of records; return number and time of the last."""
    record = decode_record(page[-1])
    last = record.seq, record.time_us
    for data in page:
        if needed is None or needed.search(data):
            _give(rules, refused, decode_record(data))
    return last


def _give(rules: Mapping[str, RecordedRule], refused: dict[str, str], record: Record) -> None:
    name = getattr(record.body, "rule", None)
    for rule in rules.values() if name is None else filter(None, [rules.get(name)]):
        if rule.rule in refused:
            continue
        try:
            rule.take(record.seq, record)
        except Exception as error:  # whatever is wrong with one rule must not stop the others
            _log.exception("replay of %s at audit record %d", rule.rule, record.seq)
            refused[rule.rule] = f"at audit record {record.seq}: {internal(error)}"


def _found_in(rows: Sequence[SlotRow]) -> FindProgram:
    """Return how to find the programs that ran: those that a slot holds, and the last that failed."""
    held = {row.program_id: row for row in reversed(rows)}

    def find(program_id: bytes) -> Known | None:
        row = held.get(program_id)
        return None if row is None else Known(verify(decode(row.program).program), row.params)

    return find
