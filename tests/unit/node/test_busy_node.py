"""A node that is as busy as it can be keeps what it promises: the process of the measurements, looked at afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.buffer_host import buffer_node

from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody


@pytest.mark.parametrize("producers", [1, 16])
def test_each_event_that_a_busy_node_acknowledged_is_one_record_of_its_chain(tmp_path: Path, producers: int) -> None:
    with buffer_node(tmp_path, producers, acts_every=3) as node:
        measured = node.measure(0.5)
        node.ask("fill", records=2_000)
    assert measured.events > 0 and measured.p50_ms > 0
    with AuditReader(tmp_path / "data") as reader:
        records = list(reader.records())
    assert verify_chain(records).holds
    executions = [one.body for one in map(decode_record, records) if isinstance(one.body, ExecutionBody)]
    numbers = sorted(int(body.inputs[0]) for body in executions)
    assert numbers == list(range(1, len(numbers) + 1)), "none is missing, and none is there twice"
    assert len(numbers) >= measured.events + 2_000
    assert all(len(body.actions) == (body.inputs[0] % 3 == 0) for body in executions), "what acts is in its record"
