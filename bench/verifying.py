"""Checking the audit of a node: 1,000,000 records, beside `sha256sum` over the same bytes; is it a straight line?"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Report, Row
from eyeflow.protocol.audit import ZERO_HASH, Record, encode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import Body, CheckpointBody, ExecutionBody, StartBody
from eyeflow.protocol.identity import Identity

SIZES = (100_000, 300_000, 1_000_000)
CHECKPOINT_EVERY = 1_000
KEY = Identity(bytes(range(32)))
START_US = 1_790_000_000_000_000
STRAIGHT_MAX = 1.25
"""A record of the longest chain may cost so many times one of the shortest: the machine does other work."""


def report() -> Report:
    """Check chains of three lengths. Time is that of the processor: the machine is shared."""
    rows, each = [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "records"
        lengths = _write(file, SIZES[-1])
        for size in SIZES:
            part = Path(folder) / "part"
            part.write_bytes(file.read_bytes()[: sum(lengths[:size])])
            checked_s, summed_s = _checked_s(part, lengths[:size]), _summed_s(part)
            each.append(checked_s / size)
            told = f"{size / checked_s:,.0f}/s; sha256sum of its {part.stat().st_size >> 20} MB: {summed_s:.2f} s, "
            rows.append(Row(f"{size:,} records", checked_s, "s", f"{told}{checked_s / summed_s:.0f} times as long"))
    ratio = max(each) / min(each)
    bar = f"a record costs the same in a chain of any length: at most {ratio:.2f} times as much"
    return Report("Checking an audit", tuple(rows), ((bar, ratio <= STRAIGHT_MAX),))


def _bodies(count: int) -> Iterator[Body]:
    yield StartBody("bench", KEY.public_key, True)
    for number in range(2, count + 1):
        if number % CHECKPOINT_EVERY == 0:
            yield CheckpointBody(KEY.public_key)
            continue
        actions = ((0, (0, True), 0),) if number % 10 == 0 else ()
        given = ("overheat_relay", bytes(range(32)), 0, START_US + number * 1000, 0, 40, (20.5 + number % 100,))
        yield ExecutionBody(*given, answers=((0, (0,), 850 + number % 7),), actions=actions)


def _write(file: Path, count: int) -> list[int]:
    """Write a chain, one record after the other; return their lengths."""
    head, lengths = ZERO_HASH, []
    with file.open("wb") as out:
        for number, body in enumerate(_bodies(count), start=1):
            data = encode_record(Record("node-prod-01", 1, number, head, START_US + number * 1000, body), KEY)
            head = record_hash(data)
            lengths.append(len(data))
            out.write(data)
    return lengths


def _checked_s(file: Path, lengths: list[int]) -> float:
    with file.open("rb") as records:
        began_s = time.process_time()
        found = verify_chain((records.read(length) for length in lengths), KEY.public_key)
        spent_s = time.process_time() - began_s
    if not found.holds or found.records != len(lengths):
        raise RuntimeError(f"the chain does not hold: {found.problem}")
    return spent_s


def _summed_s(file: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["sha256sum", str(file)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
