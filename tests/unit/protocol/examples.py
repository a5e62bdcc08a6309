"""Messages for tests of the link protocol: one of each kind, and strategies for any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from eyeflow.protocol import boards as b
from eyeflow.protocol import collecting as z
from eyeflow.protocol import executions as x
from eyeflow.protocol import lines as n
from eyeflow.protocol import messages as m
from eyeflow.protocol import opening as o
from eyeflow.protocol import replays as y
from eyeflow.protocol.slot import Slot

ID = "ab" * 32
BOARD = b.BoardStatus(
    *(b.BoardState.FAILED, "rule_stopped", 1_000, "relay is stopped", 2_000, "0.1.0", 1, 7, 60_000),
    *("watchdog", 4_096, 1_200, 65_536, 4_096, 65_536, 9_000, 1_000, 900, 50, 1, 2, 3, 4),
    (b.BoardProgram("relay", "1.0.0", ID, False, True, False, True, 12, 3, 1, "OVERFLOW at instruction 4"),),
)
EXAMPLES: list[m.Message] = [
    m.Manifest(b"body", bytes(64)),
    m.Fetch(8, (ID, "cd" * 32)),
    m.Install(8, ID, b"\x7fSVM"),
    m.ManifestResult(8, (m.RuleResult("pump", ID, m.RuleState.REFUSED, "not granted"),)),
    m.Status(
        1,
        3,
        99,
        8,
        (
            m.Health(m.HealthKind.RULE, "pump", m.HealthState.RUNNING, "", ID, (("executions", 7),), Slot.ACTIVE),
            m.Health(m.HealthKind.PORT, "mqtt", m.HealthState.CONNECTING, "no broker"),
        ),
    ),
    m.Recall(3, 98),
    m.Recalled(3, 98, bytes(32)),
    m.Head(bytes(16), 3, 98, bytes(32)),
]
TOLD = m.EvidenceStanding.ROLLED_BACK
EVIDENCE = m.Evidence(
    "pump", Slot.ACTIVE, ID, "d-1", 5, 1, 100, 90, 4, 7, 3, 2, 1, 0, 90_000, 1_200, TOLD, "7 of 100 trapped"
)
TRIAL = m.Trial(60, 100, 150, 3, True)
SET = "gpio.set_pin(RELAY, HIGH) at line 14"
DIFFERED = x.Differences(
    3, (x.Difference("pump", ID, "d-1", 9, x.Trace(96), x.Trace(97, ("adc.read_channel(0) = 7",), (SET,)), "mqtt t"),)
)
WHO = ("pump", Slot.CANDIDATE, ID, "d-1", x.FailureKind.TRAP, 9)
FAILED = x.Failures(3, (x.Failure(*WHO, "trap INDEX at line 3", x.Trace(96, (), (SET,)), "mqtt t: n = 1", "t"),))
ASKED = y.Replay(7, 5, 60, (y.ReplayProgram("pump", ID, b"program", (("limit", 1.5),)),))
REPLAYED = y.Replayed(
    7,
    (
        y.ReplayResult("door", ID, "its signer is not trusted"),
        y.ReplayResult(
            "pump", ID, "", 5, 9, y.Memory.WARM, 100, 1, 2, 3, ("mqtt u: none",),
            (y.ReplayDifference(9, x.Trace(96), x.Trace(0, (), (SET,)), "mqtt t: n = 1", "t"),),
        ),
    ),
)  # fmt: skip
KEPT = z.KeptHead(3, 98, bytes(32), 1_790_000_000_000_000, bytes(64))
COLLECT = z.Collect(KEPT, 99, z.PLAIN_BYTES_MAX)
STATE = z.SlotState("pump", Slot.ACTIVE, "", ID, b"state")
STATES = z.States(101, (("pump", Slot.ACTIVE, ""), ("pump", Slot.PREVIOUS, "")), (STATE,), False)
COLLECTED = z.Collected(3, 100, 101, 101, z.bundled([b"a record", b"the next"]), STATES)
LISTEN = n.Listen(7, 1_000)
LISTENED = n.Listened(
    7, (n.BoardLine(1_000, 9, 2, "door open"), n.BoardLine(1_001, 9, 0, "", ("is it hot?", "7"))), 1_002, 4
)
NEW_EXAMPLES: list[m.Message] = [
    m.Status(1, 3, 99, 8, (), (EVIDENCE,)),
    m.Status(1, 1, 1, 8, (), (), BOARD),
    DIFFERED,
    FAILED,
    ASKED,
    REPLAYED,
    COLLECT,
    COLLECTED,
    LISTEN,
    n.Listen(8),
    LISTENED,
    n.Listened(8, refusal="it is no board"),
]
"""What version 2 has not."""
OPENINGS: list[o.Opening] = [
    o.Hello(1, 2, "eyeflow 0.1", "node-1", 7, bytes(32), (("audit.cursor", b"\1"), ("x-board", b""))),
    o.Welcome(2, "eyeflow 0.1", ID, 8, 10, (("later", b"\0" * 9),), bytes(64)),
]

naturals = st.integers(0, 2**63 - 1)
versions = st.integers(1, 255)
ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
rules = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
short = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | short
params = st.dictionaries(rules, scalars, max_size=4).map(lambda one: tuple(sorted(one.items())))
counters = st.dictionaries(short, naturals, max_size=4).map(lambda one: tuple(sorted(one.items())))
hashes = st.binary(min_size=32, max_size=32)
extensions = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True), st.binary(max_size=1024), max_size=6
).map(lambda one: tuple(sorted(one.items())))
slots = st.sampled_from(Slot)
hundredths = st.integers(0, m.SHARE_MAX)
trials = st.builds(m.Trial, st.integers(0, m.OBSERVE_S_MAX), naturals, hundredths, naturals, st.booleans())
counts = [naturals] * 12
standings = st.sampled_from(m.EvidenceStanding)
evidence = st.builds(m.Evidence, rules, slots, ids, short, *counts, standings, short)


def lists(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(item, max_size=3).map(tuple)


hellos = st.tuples(versions, versions).flatmap(
    lambda pair: st.builds(o.Hello, st.just(min(pair)), st.just(max(pair)), short, names, naturals, hashes, extensions)
)
welcomes = st.builds(
    o.Welcome,
    versions,
    short,
    ids,
    naturals,
    st.integers(1, 3600),
    extensions,
    st.binary(min_size=64, max_size=64),
)


def _replays(texts: st.SearchStrategy[Any], traces: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Any]]:
    program = st.builds(y.ReplayProgram, rules, ids, st.binary(min_size=1, max_size=64), params)
    programs = st.lists(program, min_size=1, max_size=3, unique_by=lambda one: one.rule)
    ascending = programs.map(lambda found: tuple(sorted(found, key=lambda one: one.rule)))
    difference = st.builds(y.ReplayDifference, naturals, traces, traces, short, short)
    numbers = (naturals, naturals, st.sampled_from(y.Memory), naturals, naturals, naturals, naturals)
    result = st.builds(y.ReplayResult, rules, ids, short, *numbers, texts, lists(difference))
    return [
        st.builds(y.Replay, naturals, naturals, st.integers(1, y.REPLAY_S_MAX), ascending),
        st.builds(y.Replayed, naturals, st.lists(result, min_size=1, max_size=3).map(tuple)),
    ]


def _listens() -> list[st.SearchStrategy[Any]]:
    line = st.builds(n.BoardLine, naturals, naturals, st.integers(0, 255), short, lists(short))
    return [
        st.builds(n.Listen, naturals, st.none() | naturals),
        st.builds(n.Listened, naturals, lists(line), naturals, naturals, short),
    ]


def _collects() -> list[st.SearchStrategy[Any]]:
    kept = st.builds(z.KeptHead, naturals, st.integers(0, 2**40), hashes, naturals, st.binary(min_size=64, max_size=64))
    ask = kept.flatmap(lambda one: st.builds(z.Collect, st.just(one), st.integers(one.seq, 2**41), st.integers(1, 9)))
    bundles = st.binary(min_size=1, max_size=64)
    slot_states = st.builds(z.SlotState, rules, st.sampled_from(Slot), short, ids, bundles)
    held = lists(st.tuples(rules, st.sampled_from(Slot), short))
    states = st.none() | st.builds(z.States, naturals, held, lists(slot_states), st.booleans())
    answer = st.tuples(
        naturals, st.integers(1, 2**40), st.integers(0, z.BUNDLE_RECORDS_MAX - 1), naturals, bundles, states
    ).map(lambda one: z.Collected(one[0], one[1], one[1] + one[2], max(one[1] + one[2], one[3]), one[4], one[5]))
    return [ask, answer]


def messages_of(version: int) -> st.SearchStrategy[m.Message]:
    """Any message that protocol `version` can say."""
    results = st.builds(m.RuleResult, rules, ids | st.just(""), st.sampled_from(m.RuleState), short, slots)
    state = st.sampled_from(m.HealthState)
    health = st.one_of(
        st.builds(m.Health, st.just(m.HealthKind.RULE), short, state, short, ids | st.just(""), counters, slots),
        st.builds(m.Health, st.just(m.HealthKind.PORT), short, state, short, st.just(""), counters),
    )
    told = [naturals, naturals, naturals, naturals, lists(health)]
    texts = lists(short)
    traces = st.builds(x.Trace, naturals, texts, texts)
    difference = st.builds(x.Difference, rules, ids, short, naturals, traces, traces, short, short)
    failing = (rules, slots, ids, short, st.sampled_from(x.FailureKind), naturals, short, traces, short, short)
    executions = [
        st.builds(x.Differences, naturals, st.lists(difference, min_size=1, max_size=3).map(tuple)),
        st.builds(x.Failures, naturals, st.lists(st.builds(x.Failure, *failing), min_size=1, max_size=3).map(tuple)),
        *_replays(texts, traces),
        *_collects(),
        *_listens(),
    ]
    return st.one_of(
        st.builds(m.Manifest, st.binary(min_size=1, max_size=64), st.binary(min_size=64, max_size=64)),
        st.builds(m.Fetch, naturals, lists(ids)),
        st.builds(m.Install, naturals, ids, st.binary(max_size=64)),
        st.builds(m.ManifestResult, naturals, lists(results)),
        st.builds(m.Status, *told, *([lists(evidence)] if version > 2 else [])),
        st.builds(m.Recall, naturals, naturals),
        st.builds(m.Recalled, naturals, naturals, st.just(b"") | hashes),
        st.builds(m.Head, st.binary(min_size=16, max_size=16), naturals, naturals, hashes),
        *(executions if version > 2 else []),
    )


def manifests_of(version: int) -> st.SearchStrategy[m.WantedManifest]:
    """Any manifest that protocol `version` can say."""
    what = [rules, ids, short, params]
    active, candidate = st.just(Slot.ACTIVE), st.just(Slot.CANDIDATE)
    told = [st.none() | trials] if version > 2 else []
    shared = [hundredths, st.booleans(), *told] if version > 2 else []
    told += [st.booleans()] if version > 2 else []
    entries = st.lists(
        st.builds(m.ManifestEntry, *what, active, *([st.just(0), st.just(False), *told] if version > 2 else []))
        | st.builds(m.ManifestEntry, *what, candidate, *shared),
        max_size=4,
        unique_by=lambda one: (one.rule, one.slot),
    ).map(lambda found: tuple(sorted(found, key=lambda one: (one.rule, one.slot.value))))
    signers = st.sets(hashes, max_size=3).map(lambda keys: tuple(sorted(keys)))
    return st.builds(m.WantedManifest, ids, names, naturals, naturals, entries, signers)
