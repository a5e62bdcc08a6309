"""Any order of messages: neither side can be brought to what its contract forbids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import Phase as Stage
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.protocol import messages as m
from eyeflow.protocol import opening as o
from eyeflow.protocol import staging as staging_module
from eyeflow.protocol.outputs import (
    Applied,
    Apply,
    Behind,
    Close,
    Connected,
    NeedPrograms,
    Output,
    Remember,
    Seen,
    Send,
    Told,
)
from eyeflow.protocol.session import Accepted, CoordinatorSession, NodeSession, Peer, Phase
from eyeflow.protocol.versions import VERSIONS
from unit.protocol.sessions import (
    COORDINATOR,
    KEY,
    OTHER,
    OWN,
    PROGRAMS,
    head,
    hello,
    manifest,
    offer,
    welcome,
)


class NodeWalk:
    """A node's session, an honest coordinator, and somebody between them who replays, forges and cuts.

    Most steps are what the honest coordinator does next, so that most walks apply manifests.
    """

    STEPS = (
        *("manifest", "install", "install", "applied", "finish") * 6,
        *("lost", "lost", "lost", "lost", "again", "stale manifest", "stale program", "recall", "cut"),
        *("forged", "for another", "unasked program", "changed", "nonsense"),
    )

    def __init__(self, happened: Counter[str]) -> None:
        self.happened = happened
        self.issued = {1: manifest(1)}
        self.asked: list[m.Fetch] = []
        self.accepted, self.held = Accepted(), frozenset[m.InstalledRule]()
        self.applying: Apply | None = None
        self.connect()

    def connect(self) -> None:
        """The link comes up (again): the node starts from what it has made durable."""
        said = hello(self.accepted.version)
        peer = Peer(COORDINATOR, KEY.public_key)
        self.session = NodeSession(said, peer, self.accepted, head(), self.held)
        self.asked.clear()
        self.applying = None
        self.floor = max(self.issued)
        self.see(self.session.receive(welcome(self.floor, said)))
        assert self.session.phase is Phase.READY

    def step(self, kind: str, number: int) -> None:
        if kind == "applied":
            self.apply()
            return
        if kind == "finish":
            self.finish(number)
            return
        if kind == "cut":
            self.connect()
            return
        message = self.message(kind, number)
        if message is not None:
            self.see(self.session.receive(message))
        if self.session.phase is Phase.CLOSED:
            self.happened["closed"] += 1
            self.connect()

    def message(self, kind: str, number: int) -> m.Message | None:
        newest = max(self.issued)
        digits = "".join(digit for place, digit in enumerate("1234") if number >> place & 1)
        if kind == "manifest":
            self.issued[newest + 1] = manifest(newest + 1, digits)
            return self.issued[newest + 1]
        if kind == "again":
            return self.issued[newest]
        if kind == "stale manifest":
            return self.issued[1 + number % newest]
        if kind in {"install", "lost", "stale program"}:
            return self.install(kind, number)
        if kind == "changed":  # as of a coordinator whose store was restored: its version stands for another wish now
            other = manifest(newest, digits)
            return other if self.accepted.version == newest and other != self.issued[newest] else None
        return {
            "recall": m.Recall(1, 5),
            "forged": manifest(newest + 1, digits, key=OTHER),
            "for another": manifest(newest + 1, digits, node="other"),
            "unasked program": m.Install(newest, "f" * 64, b"program f"),
            "nonsense": m.Fetch(1, ()),
        }[kind]

    def install(self, kind: str, number: int) -> m.Message | None:
        """A program that the node asked for: by its newest question, or by one of before."""
        if not self.asked:
            return None
        question = self.asked[number % len(self.asked)] if kind == "stale program" else self.asked[-1]
        waiting = self.session._staging.waiting if self.session._staging else set()
        wished = [one for one in question.program_ids if one in waiting] or list(question.program_ids)
        program_id = wished[number % len(wished)]
        return m.Install(question.manifest_version, program_id, b"" if kind == "lost" else PROGRAMS[program_id])

    def finish(self, number: int) -> None:
        """All that the node waits for comes, and it installs that."""
        while self.session._staging and self.asked:
            self.step("install", number)
        self.apply()

    def apply(self) -> None:
        """The node has installed all that came of the manifest that it applies."""
        if self.applying is None:
            return
        done, self.applying = self.applying, None
        wanted = (m.InstalledRule(one.rule, one.program_id, one.params) for one in done.manifest.entries)
        self.held = frozenset(one for one in wanted if one.program_id not in done.missing)
        self.happened["applied"] += 1
        self.see(self.session.applied((), self.held))

    def see(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            assert isinstance(output, Send | Apply | Close | Remember)
            if isinstance(output, Send) and isinstance(output.message, m.Fetch):
                self.asked.append(output.message)
            elif isinstance(output, Apply):
                self.check_apply(output)
                self.applying, self.accepted = output, Accepted(output.manifest.version, output.digest)
        assert self.session.accepted == self.accepted

    def check_apply(self, output: Apply) -> None:
        version = output.manifest.version
        assert self.applying is None, "never two manifests at once"
        assert version >= max(self.accepted.version, self.floor), "never back"
        assert version in self.issued, "never issued for this node"
        honest = VERSIONS[3].decode_manifest(self.issued[version].body)
        assert output.manifest == honest, "what the coordinator signed, and nothing else"
        assert output.digest == hashlib.sha256(self.issued[version].body).digest()
        running = {(one.rule, one.program_id) for one in self.held}
        lacking = {one.program_id for one in honest.entries if (one.rule, one.program_id) not in running}
        assert set(output.programs) | output.missing == lacking, "whole, and of this manifest only"
        assert all(program == PROGRAMS[program_id] for program_id, program in output.programs.items())
        self.happened["fetched"] += bool(output.programs)
        self.happened["kept"] += bool(running & {(one.rule, one.program_id) for one in honest.entries})
        self.happened["missed"] += bool(output.missing)


WALKS = 300
UNSHRUNK = [Stage.generate]


def walk_as_a_node(stages: Sequence[Stage] = tuple(Stage)) -> Counter[str]:
    """Walk often; return how often what happened."""
    happened: Counter[str] = Counter()

    @seed(5)
    @settings(max_examples=WALKS, deadline=None, database=None, phases=stages, report_multiple_bugs=False)
    @given(st.lists(st.tuples(st.sampled_from(NodeWalk.STEPS), st.integers(0, 15)), min_size=10, max_size=40))
    def walk(script: list[tuple[str, int]]) -> None:
        before = happened["applied"]
        one = NodeWalk(happened)
        for kind, number in script:
            one.step(kind, number)
        happened["walks that applied"] += happened["applied"] > before

    walk()
    return happened


def test_no_order_of_messages_makes_a_node_go_back_or_mix() -> None:
    """Counted is what happened: a walk on which every message is refused proves nothing."""
    happened = walk_as_a_node()
    assert happened["walks that applied"] > WALKS * 2 / 3, happened
    assert happened["applied"] > WALKS, happened
    for name in ("fetched", "kept", "missed", "closed"):
        assert happened[name] > WALKS / 10, happened


@pytest.mark.parametrize("guard", ["_refusal", "take", "_floor"])
def test_control_without_a_guard_the_same_walks_find_a_step_back_or_a_mix(
    guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if guard == "_refusal":
        monkeypatch.setattr(NodeSession, "_refusal", lambda self, wanted, digest: "")
    elif guard == "_floor":
        monkeypatch.setattr(NodeSession, "_floor", property(lambda self: 0, lambda self, value: None), raising=False)
    else:
        monkeypatch.setattr(staging_module.Staging, "take", lambda self, message: self.waiting.clear())
    with pytest.raises(AssertionError):
        walk_as_a_node(UNSHRUNK)


class CoordinatorWalk:
    """A coordinator's session with a node that says mostly what an honest one says next."""

    STEPS = (*("fetch", "result", "status", "head", "offer") * 3, "older fetch", "greedy", "ahead", "hello", "twice")

    def __init__(self, happened: Counter[str]) -> None:
        self.happened = happened
        self.latest = offer(1, "12")
        self.connect()

    def connect(self) -> None:
        self.session = CoordinatorSession("node", OWN, self.latest)
        assert isinstance(self.session.receive(hello())[0], Connected)
        self.check(self.session.welcome(self.latest))

    def step(self, kind: str, number: int) -> None:
        if kind == "offer":
            digits = "".join(digit for place, digit in enumerate("1234") if number >> place & 1)
            self.latest = offer(self.latest.version + 1, digits)
            self.check(self.session.offer(self.latest))
            return
        self.check(self.session.receive(self.message(kind, number)))
        if self.session.phase is Phase.CLOSED:
            self.happened["closed"] += 1
            self.connect()

    def message(self, kind: str, number: int) -> m.Message | o.Opening:
        version, ids = self.latest.version, sorted(self.latest.program_ids)
        return {
            "fetch": m.Fetch(version, tuple(ids[: 1 + number % 4])),
            "result": m.ManifestResult(max(0, version - number % 2), ()),
            "status": m.Status(1, 1, 1, 1),
            "head": head(),
            "older fetch": m.Fetch(version - 1, tuple(ids)),
            "greedy": m.Fetch(version, (*ids, "f" * 64)),
            "ahead": m.ManifestResult(version + 1, ()),
            "hello": hello(),
            "twice": m.Fetch(version, ("1" * 64, "1" * 64)),
        }[kind]

    def check(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            self.happened[type(output).__name__] += 1
            if isinstance(output, Send) and isinstance(output.message, m.Manifest):
                assert output.message == self.latest.manifest
            elif isinstance(output, NeedPrograms):
                assert set(output.program_ids) <= self.latest.program_ids
                given = {one: PROGRAMS[one] for one in output.program_ids}
                assert len(self.session.deliver(output.manifest_version, given)) == len(given)
                assert self.session.deliver(output.manifest_version - 1, given) == ()
            else:
                assert isinstance(output, Send | Behind | Close | Applied | Seen | Told)
        assert self.session.offered_version == self.latest.version


def walk_as_a_coordinator(stages: Sequence[Stage] = tuple(Stage)) -> Counter[str]:
    """Walk often; return how often what happened."""
    happened: Counter[str] = Counter()

    @seed(6)
    @settings(max_examples=WALKS, deadline=None, database=None, phases=stages, report_multiple_bugs=False)
    @given(st.lists(st.tuples(st.sampled_from(CoordinatorWalk.STEPS), st.integers(0, 15)), min_size=5, max_size=25))
    def walk(script: list[tuple[str, int]]) -> None:
        one = CoordinatorWalk(happened)
        for kind, number in script:
            one.step(kind, number)

    walk()
    return happened


def test_no_order_of_messages_makes_a_coordinator_give_what_is_not_wanted() -> None:
    happened = walk_as_a_coordinator()
    for name in ("NeedPrograms", "Applied", "Seen", "Told", "closed"):
        assert happened[name] > WALKS / 2, happened


def test_control_a_coordinator_that_gives_what_is_asked_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        CoordinatorSession,
        "_fetch",
        lambda self, message: (NeedPrograms(message.manifest_version, message.program_ids),),
    )
    with pytest.raises(AssertionError):
        walk_as_a_coordinator(UNSHRUNK)
