"""What was sent, compared with what the coordinator keeps: by (node, epoch, seq), and by the contents of the events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import ExecutionBody, StartBody
from kills.load import MQTT, Sent, source_of

SHOWN_MAX = 5


@dataclass(frozen=True)
class Compared:
    """What does not hold, empty when all does, and what there was."""

    problems: tuple[str, ...]
    counts: Counter[str]


def compared(sent: Sent, archive: Sequence[bytes], store: Sequence[bytes], public_key: bytes) -> Compared:
    """Compare; `archive` is what the coordinator keeps of the node, `store` what the node has, both from record 1 on."""
    records = [decode_record(one) for one in archive]
    runs = [one.body for one in records if isinstance(one.body, ExecutionBody)]
    times = Counter(int(body.inputs[0]) for body in runs)
    twice = sorted(number for number, count in times.items() if count > 1 and source_of(number) != MQTT)
    strangers = sorted(set(times) - sent.acknowledged - sent.taken - sent.unanswered)
    places = [(one.node, one.epoch, one.seq) for one in records]
    problems = [
        _told("acknowledged events are gone", sorted(sent.acknowledged - set(times))),
        _told("events that a broker had taken are gone", sorted(sent.taken - set(times))),
        _told("events ran twice", twice),
        _told("events ran that nobody sent", strangers),
        _told("records are kept twice", [place for place, count in Counter(places).items() if count > 1]),
        _told("records are missing", sorted(set(range(1, len(records) + 1)) - {seq for _, _, seq in places})),
        _told("records differ from the node's", [n for n, pair in enumerate(zip(archive, store, strict=False), 1) if pair[0] != pair[1]]),
        "" if len(archive) == len(store) else f"the node has {len(store)} records, and {len(archive)} are kept",
        "" if verify_chain(archive, public_key).holds else "the chain that is kept does not hold",
        _told("the state of the rule goes not with its record", _wrong_states(runs)),
    ]  # fmt: skip
    counts = sent.counts() + Counter(
        {
            "records": len(records),
            "starts": sum(isinstance(one.body, StartBody) for one in records),
            "unanswered and recorded": len(sent.unanswered & set(times)),
            "came again by MQTT": sum(count - 1 for count in times.values()) - len(twice),
        }
    )
    return Compared(tuple(filter(None, problems)), counts)


def _wrong_states(runs: Sequence[ExecutionBody]) -> list[str]:
    """The rule counts its executions, and publishes the count: number n says n, whoever was killed in between."""
    said = [str(args[1]) for body in runs for _, args, _ in body.actions]
    return [f"execution {n} says {one}" for n, one in enumerate(said, 1) if json.loads(one) != n]


def _told(what: str, which: Sequence[object]) -> str:
    return f"{what}: {len(which)}, as {', '.join(map(str, which[:SHOWN_MAX]))}" if which else ""
