"""The comparison finds what it is there for: each fault that is put into the records is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eyeflow.protocol.audit import ZERO_HASH, Record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import ExecutionBody, StartBody
from eyeflow.protocol.identity import Identity
from kills.compare import compared
from kills.load import Sent

KEY, PROGRAM = Identity(bytes(range(32))), bytes(32)


def chain(*numbers: int, said: dict[int, int] | None = None) -> list[bytes]:
    """Return a chain with an execution of each event, whose rule counts them."""
    bodies: list[StartBody | ExecutionBody] = [StartBody("1", KEY.public_key, True, ())]
    for n, number in enumerate(numbers, 1):
        text = str((said or {}).get(n, n))
        bodies.append(
            ExecutionBody("r", PROGRAM, 0, 0, 0, 1, inputs=(number,), actions=((0, ("out", text, False, 1), 0),))
        )
    records, head = list[bytes](), ZERO_HASH
    for seq, body in enumerate(bodies, 1):
        records.append(encode_record(Record("n", 1, seq, head, 0, body), KEY))
        head = record_hash(records[-1])
    return records


def sent() -> Sent:
    return Sent(acknowledged={0, 3, 6}, unanswered={9}, taken={1, 2})


def problems(records: list[bytes], store: list[bytes] | None = None) -> str:
    return "; ".join(compared(sent(), records, records if store is None else store, KEY.public_key).problems)


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 6), (0, 1, 2, 3, 6, 9), (0, 1, 1, 2, 3, 6)])
def test_what_is_allowed_is_no_problem(numbers: tuple[int, ...]) -> None:
    """Of a request without an answer nobody knows; MQTT may bring a message again."""
    assert problems(chain(*numbers)) == ""


WHOLE = (0, 1, 2, 3, 6)
FAULTS: dict[str, Callable[[], str]] = {
    "acknowledged events are gone": lambda: problems(chain(0, 1, 2, 3)),
    "events that a broker had taken are gone": lambda: problems(chain(0, 1, 3, 6)),
    "events ran twice": lambda: problems(chain(0, 0, 1, 2, 3, 6)),
    "events ran that nobody sent": lambda: problems(chain(*WHOLE, 12)),
    "records are kept twice": lambda: problems([*chain(*WHOLE), chain(*WHOLE)[-1]]),
    "records are missing": lambda: problems(chain(*WHOLE)[:2] + chain(*WHOLE)[3:]),
    "records differ from the node's": lambda: problems(chain(*WHOLE), chain(0, 1, 2, 6, 3)),
    "and 6 are kept": lambda: problems(chain(*WHOLE), chain(*WHOLE)[:5]),
    "the chain that is kept does not hold": lambda: problems(chain(*WHOLE)[:2] + chain(*WHOLE)[3:]),
    "the state of the rule": lambda: problems(chain(*WHOLE, said={3: 2})),
}


@pytest.mark.parametrize("what", FAULTS)
def test_control_each_fault_is_told(what: str) -> None:
    assert what in FAULTS[what]()
