from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import Phase as Stage
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from eyeflow.protocol import messages as m
from eyeflow.protocol import opening as o
from eyeflow.protocol import session as session_module
from eyeflow.protocol.identity import Identity, key_fingerprint, verifies
from eyeflow.protocol.session import (
    Accepted,
    Applied,
    Apply,
    Close,
    Connected,
    Coordinates,
    CoordinatorSession,
    Differed,
    NeedPrograms,
    NodeSession,
    Offer,
    Output,
    Peer,
    Phase,
    Recollected,
    Remember,
    Seen,
    Send,
    Told,
)
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, VERSIONS
from eyeflow.protocol.wire import ProtocolError

KEY = Identity(bytes(range(32)))
OTHER = Identity(bytes(range(1, 33)))
COORDINATOR = key_fingerprint(KEY.public_key)
OWN = Coordinates(COORDINATOR, "test", KEY.sign)
PROGRAMS = {digit * 64: f"program {digit}".encode() for digit in "1234"}
RULES = {digit * 64: f"rule_{digit}" for digit in "1234"}


def manifest(
    version: int, digits: str = "", *, node: str = "node", key: Identity = KEY, by: str = COORDINATOR, protocol: int = 3
) -> m.Manifest:
    entries = tuple(m.ManifestEntry(f"rule_{digit}", digit * 64, f"d-{version}") for digit in sorted(digits))
    body = VERSIONS[protocol].encode_manifest(m.WantedManifest(by, node, version, version, entries))
    return m.Manifest(body, key.sign(m.manifest_bytes(body)))


def offer(version: int, digits: str = "") -> Offer:
    return Offer(version, manifest(version, digits), frozenset(digit * 64 for digit in digits))


def head(seq: int = 5, digit: str = "a", epoch: int = 1, boot: bytes = bytes(16)) -> m.Head:
    return m.Head(boot, epoch, seq, bytes.fromhex(digit * 64))


def hello(version: int = 0, speaks: int = 3) -> o.Hello:
    return o.Hello(1, speaks, "test", "node", version, bytes(32))


def welcome(version: int, to: o.Hello | None = None, key: Identity = KEY, protocol: int = 3) -> o.Welcome:
    unsigned = o.Welcome(protocol, "test", COORDINATOR, version, 10)
    return replace(unsigned, signature=key.sign(o.welcome_bytes(to or hello(), unsigned)))


def node_session(accepted: Accepted | None = None, installed: str = "") -> NodeSession:
    accepted = accepted or Accepted()
    held = frozenset(m.InstalledRule(f"rule_{digit}", digit * 64) for digit in installed)
    return NodeSession(hello(accepted.version), Peer(COORDINATOR, KEY.public_key), accepted, head(), held)


def ready(version: int = 1, accepted: Accepted | None = None, installed: str = "") -> NodeSession:
    session = node_session(accepted, installed)
    assert session.receive(welcome(version, hello(session.accepted.version))) == (Send(head()),)
    return session


def closed(outputs: tuple[Output, ...], code: str) -> bool:
    return len(outputs) == 1 and isinstance(outputs[0], Close) and outputs[0].code == code


def install(version: int, digit: str) -> m.Install:
    return m.Install(version, digit * 64, PROGRAMS[digit * 64])


def test_a_manifest_is_applied_only_once_all_its_programs_are_here() -> None:
    session = ready()
    assert session.receive(manifest(1, "12")) == (Send(m.Fetch(1, ("1" * 64, "2" * 64))),)
    assert session.receive(install(1, "2")) == ()
    outputs = session.receive(install(1, "1"))
    assert len(outputs) == 1 and isinstance(outputs[0], Apply)
    assert outputs[0].programs == {"1" * 64: b"program 1", "2" * 64: b"program 2"}
    results = (m.RuleResult("rule_1", "1" * 64, m.RuleState.INSTALLED),)
    assert session.applied(results, frozenset()) == (Send(m.ManifestResult(1, results)),)


def test_a_node_opens_with_its_hello_and_hears_nothing_but_a_welcome() -> None:
    session = node_session()
    assert session.start() == (Send(hello()),)
    assert closed(session.receive(manifest(1)), "unexpected_message")


def test_a_node_tells_its_health_as_often_as_the_coordinator_wishes() -> None:
    assert node_session().status_s == session_module.STATUS_S
    assert ready().status_s == 10


def test_a_coordinator_that_knows_less_than_the_node_is_refused_at_once() -> None:
    accepted = Accepted(2, hashlib.sha256(manifest(2).body).digest())
    assert closed(node_session(accepted).receive(welcome(1, hello(2))), "manifest_rollback")
    assert node_session(accepted).receive(welcome(2, hello(2))) == (Send(head()),), "the control"


def test_a_program_in_another_slot_is_fetched() -> None:
    """The slot is part of what runs: a candidate that becomes active is installed anew."""
    for held, wanted, fetched in (
        (Slot.ACTIVE, Slot.ACTIVE, False),
        (Slot.ACTIVE, Slot.CANDIDATE, True),
        (Slot.CANDIDATE, Slot.CANDIDATE, False),
    ):
        entry = m.ManifestEntry("rule_1", "1" * 64, "d", slot=wanted)
        body = VERSIONS[PROTOCOL_VERSION_MAX].encode_manifest(m.WantedManifest(COORDINATOR, "node", 1, 1, (entry,)))
        running = frozenset({m.InstalledRule("rule_1", "1" * 64, slot=held)})
        session = NodeSession(hello(), Peer(COORDINATOR, KEY.public_key), Accepted(), head(), running)
        session.receive(welcome(1))
        (output,) = session.receive(m.Manifest(body, KEY.sign(m.manifest_bytes(body))))
        assert isinstance(output, Send) is fetched


def test_a_program_that_was_not_asked_for_closes_the_link() -> None:
    session = ready()
    session.receive(manifest(1, "1"))
    assert closed(session.receive(install(1, "2")), "unexpected_program")


def test_a_closed_link_is_told_nothing_more() -> None:
    node, coordinator, _ = both(known=head(5))
    assert closed(node.receive(m.Fetch(1, ())), "unexpected_message")
    assert node.remembered(Remember(1, 5), bytes(32)) == ()
    assert closed(coordinator.receive(hello()), "unexpected_message")
    assert coordinator.offer(offer(2)) == () and coordinator.offered_version == 2


def test_what_runs_already_is_not_fetched() -> None:
    session = ready(installed="1")
    assert session.receive(manifest(1, "12")) == (Send(m.Fetch(1, ("2" * 64,))),)
    outputs = ready(installed="12").receive(manifest(1, "12"))
    assert isinstance(outputs[0], Apply) and outputs[0].programs == {}


def test_a_lost_program_is_named() -> None:
    session = ready()
    session.receive(manifest(1, "1"))
    outputs = session.receive(m.Install(1, "1" * 64, b""))
    assert isinstance(outputs[0], Apply) and outputs[0].missing == {"1" * 64}


def test_a_newer_manifest_replaces_one_whose_programs_are_on_their_way() -> None:
    session = ready()
    session.receive(manifest(1, "12"))
    session.receive(install(1, "1"))
    assert session.receive(manifest(2, "3")) == (Send(m.Fetch(2, ("3" * 64,))),)
    assert session.receive(install(1, "2")) == (), "of the replaced manifest: no mix and match"
    outputs = session.receive(install(2, "3"))
    assert isinstance(outputs[0], Apply)
    assert (outputs[0].manifest.version, set(outputs[0].programs)) == (2, {"3" * 64})


def test_a_manifest_that_comes_during_apply_waits() -> None:
    session = ready()
    assert isinstance(session.receive(manifest(1))[0], Apply)
    assert session.receive(manifest(2)) == ()
    assert session.receive(manifest(3)) == ()
    done, following = session.applied((), frozenset())
    assert done == Send(m.ManifestResult(1, ()))
    assert isinstance(following, Apply) and following.manifest.version == 3


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (manifest(5, key=OTHER), "manifest_signature"),
        (replace(manifest(5), signature=bytes(64)), "manifest_signature"),
        (m.Manifest(manifest(5).body, manifest(6).signature), "manifest_signature"),
        (manifest(5, node="other"), "manifest_rollback"),
        (manifest(5, by="0" * 64), "manifest_rollback"),
        (manifest(3), "manifest_rollback"),
        (manifest(4, "1"), "manifest_rollback"),
        (manifest(5, protocol=2), "manifest_malformed"),
        (m.Manifest(b"\x80", KEY.sign(m.manifest_bytes(b"\x80"))), "manifest_malformed"),
    ],
)
def test_a_wrong_manifest_closes_the_link_and_changes_nothing(bad: m.Manifest, code: str) -> None:
    accepted = Accepted(4, hashlib.sha256(manifest(4).body).digest())
    session = ready(4, accepted)
    assert closed(session.receive(bad), code)
    assert session.accepted == accepted
    assert session.receive(manifest(5)) == (), "nothing more is heard after a close"
    assert isinstance(ready(4, accepted).receive(manifest(4))[0], Apply), "the control: the same one again is fine"


def test_a_manifest_older_than_the_fresh_welcome_freezes_nobody() -> None:
    assert closed(ready(7).receive(manifest(6)), "manifest_rollback")
    assert isinstance(ready(7).receive(manifest(7))[0], Apply)


@pytest.mark.parametrize(
    "bad",
    [
        welcome(1, replace(hello(), nonce=bytes(31) + b"\1")),
        welcome(1, replace(hello(), node="other")),
        welcome(1, key=OTHER),
        replace(welcome(1), manifest_version=2),
        replace(welcome(1), status_s=3600),
        replace(welcome(1), extensions=(("more", b""),)),
        replace(welcome(1), coordinator_id="0" * 64),
    ],
)
def test_a_welcome_that_is_replayed_or_forged_is_refused(bad: o.Welcome) -> None:
    assert closed(node_session().receive(bad), "foreign_coordinator")
    assert node_session().receive(welcome(1)) == (Send(head()),)


def test_nobody_between_the_two_talks_them_down_to_an_older_version() -> None:
    """HELLO itself is not signed. Whoever changes it gets a WELCOME that is signed for another HELLO than was sent."""
    changed = CoordinatorSession("node", OWN, offer(1))
    changed.receive(replace(hello(), protocol_max=2))
    answer = changed.welcome(offer(1))[0]
    assert isinstance(answer, Send) and isinstance(answer.message, o.Welcome) and answer.message.protocol == 2
    assert closed(node_session().receive(answer.message), "foreign_coordinator")
    honest = NodeSession(hello(speaks=2), Peer(COORDINATOR, KEY.public_key), Accepted(), head())
    assert honest.receive(answer.message) == (Send(head()),), "the control: a node that said so takes it"


def test_versions_must_overlap() -> None:
    assert closed(node_session().receive(replace(welcome(1), protocol=4)), "protocol_version")
    coordinator = CoordinatorSession("node", OWN, offer(1))
    assert closed(coordinator.receive(replace(hello(), protocol_min=4, protocol_max=5)), "protocol_version")


@pytest.mark.parametrize(("speaks", "chosen"), [(2, 2), (3, 3), (4, 3), (255, 3)])
def test_the_newest_version_that_both_speak_is_spoken(speaks: int, chosen: int) -> None:
    session = CoordinatorSession("node", OWN, offer(1))
    said = replace(hello(speaks=speaks), extensions=(("what.comes-later", b"\xff" * 9),))
    read = session.read(o.OPENING.encode(said))
    assert session.receive(read) == (Connected(said, chosen),), "unknown extensions change nothing and are kept"
    answer = session.welcome(offer(1))[0]
    assert isinstance(answer, Send) and isinstance(answer.message, o.Welcome) and answer.message.protocol == chosen
    assert session.protocol == chosen
    node = NodeSession(said, Peer(COORDINATOR, KEY.public_key), Accepted(), head())
    assert node.receive(node.read(session.write(answer.message))) == (Send(head()),)
    assert node.protocol == chosen


HEALTHY = m.Health(m.HealthKind.RULE, "pump", m.HealthState.RUNNING, slot=Slot.ACTIVE)
STATUS = m.Status(1, 1, 7, 1, (HEALTHY, replace(HEALTHY, slot=Slot.CANDIDATE)))


@pytest.mark.parametrize("speaks", VERSIONS)
def test_each_side_reads_and_writes_by_the_chosen_version(speaks: int) -> None:
    node, coordinator, _ = both(speaks=speaks)
    assert node.write(STATUS) == coordinator.write(STATUS) == VERSIONS[speaks].encode(STATUS)
    for session in (node, coordinator):
        with pytest.raises(ProtocolError):
            session.read(o.OPENING.encode(hello()))
        for other in VERSIONS.keys() - {speaks}:
            with pytest.raises(ProtocolError):
                session.read(VERSIONS[other].encode(STATUS))


def test_before_a_version_is_chosen_only_openings_are_read() -> None:
    for session in (node_session(), CoordinatorSession("node", OWN, offer(1))):
        assert session.protocol == 0
        with pytest.raises(ProtocolError):
            session.read(VERSIONS[3].encode(STATUS))
        assert session.read(o.OPENING.encode(hello())) == hello()


def greeted(with_offer: Offer | None = None, known: m.Head | None = None, speaks: int = 3) -> CoordinatorSession:
    """A coordinator's session after HELLO and WELCOME."""
    session = CoordinatorSession("node", OWN, with_offer or offer(1), known=known)
    assert session.receive(hello(speaks=speaks)) == (Connected(hello(speaks=speaks), min(speaks, 3)),)
    session.welcome(with_offer or offer(1))
    return session


def test_the_coordinator_serves_what_its_latest_manifest_names() -> None:
    session = CoordinatorSession("node", OWN, offer(0))
    assert session.receive(hello()) == (Connected(hello(), 3),), "nothing goes out before the store knows of the link"
    first = session.welcome(offer(1, "1"))
    assert [type(one.message).__name__ for one in first if isinstance(one, Send)] == ["Welcome", "Manifest"]
    sent = first[0]
    assert isinstance(sent, Send) and isinstance(sent.message, o.Welcome)
    assert verifies(KEY.public_key, o.welcome_bytes(hello(), sent.message), sent.message.signature)
    assert session.receive(m.Fetch(1, ("1" * 64,))) == (NeedPrograms(1, ("1" * 64,)),)
    assert session.deliver(1, {"1" * 64: b"x"}) == (Send(m.Install(1, "1" * 64, b"x")),)
    assert session.offer(offer(2, "2")) == (Send(manifest(2, "2")),)
    assert session.offer(offer(2, "2")) == ()
    assert session.deliver(1, {"1" * 64: b"x"}) == ()
    assert session.receive(m.Fetch(1, ("1" * 64,))) == ()
    assert closed(session.receive(m.Fetch(2, ("1" * 64,))), "unexpected_program")


def test_the_coordinator_closes_what_is_out_of_order() -> None:
    assert closed(CoordinatorSession("node", OWN, offer(1)).receive(m.Fetch(1, ())), "unexpected_message")
    assert closed(CoordinatorSession("other", OWN, offer(1)).receive(hello()), "wrong_node")
    assert closed(CoordinatorSession("node", OWN, offer(1)).receive(hello(2)), "manifest_ahead")
    assert closed(greeted().receive(hello()), "unexpected_message")
    assert closed(greeted().receive(m.ManifestResult(2, ())), "manifest_ahead")


def test_the_coordinator_hears_the_results_of_its_latest_manifest_and_of_older_ones() -> None:
    session = greeted(offer(2))
    for version in (1, 2):
        result = m.ManifestResult(version, ())
        assert session.receive(result) == (Applied(result),)
    assert closed(session.receive(m.ManifestResult(3, ())), "manifest_ahead")


def test_an_answer_without_a_question_is_a_fault_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="without a HELLO"):
        CoordinatorSession("node", OWN, offer(1)).welcome(offer(1))
    with pytest.raises(AssertionError, match="without an Apply"):
        ready().applied((), frozenset())


def test_status_waits_for_the_link() -> None:
    status = m.Status(1, 1, 7, 1)
    assert node_session().status(status, head()) == ()
    assert ready().status(status, head()) == (Send(head()), Send(status))
    assert greeted().receive(status) == (Seen(status),)


DIFFERED = m.Differences(1, (m.Difference("pump", "1" * 64, "d-1", 9, 96, 97, (), ("gpio.set_pin(RELAY, HIGH)",)),))


def test_differences_are_told_over_a_link_that_knows_them() -> None:
    assert node_session().differences(DIFFERED) == ()
    assert ready().differences(DIFFERED) == (Send(DIFFERED),)
    assert greeted().receive(DIFFERED) == (Differed(DIFFERED),)
    older, _, _ = both(speaks=2)
    assert older.differences(DIFFERED) == (), "version 2 has no such message"


def both(known: m.Head | None = None, speaks: int = 3) -> tuple[NodeSession, CoordinatorSession, tuple[Output, ...]]:
    """A node and a coordinator after HELLO and WELCOME; and what else the coordinator does."""
    said = hello(speaks=speaks)
    node = NodeSession(said, Peer(COORDINATOR, KEY.public_key), Accepted(), head(7))
    coordinator = CoordinatorSession("node", OWN, offer(1), known=known)
    coordinator.receive(said)
    answer, *rest = coordinator.welcome(offer(1))
    assert isinstance(answer, Send) and isinstance(answer.message, o.Welcome)
    assert node.receive(answer.message) == (Send(head(7)),), "the head comes before every result"
    return node, coordinator, tuple(rest)


def test_a_node_tells_its_head_and_is_asked_for_the_one_that_was_seen_before() -> None:
    node, coordinator, rest = both(known=head(5))
    assert rest == (Send(m.Recall(1, 5)), Send(manifest(1))), "before the manifest: what is then reported can be judged"
    asked = node.receive(m.Recall(1, 5))
    assert asked == (Remember(1, 5),) and isinstance(asked[0], Remember)
    answer = node.remembered(asked[0], bytes.fromhex("b" * 64))
    assert answer == (Send(m.Recalled(1, 5, bytes.fromhex("b" * 64))),)
    assert coordinator.receive(head(7)) == (Told(head(7)),)
    recalled = m.Recalled(1, 5, bytes.fromhex("b" * 64))
    assert coordinator.receive(recalled) == (Recollected(head(5), bytes.fromhex("b" * 64)),)
    status = m.Status(1, 1, 9, 1)
    assert node.status(status, head(8)) == (Send(head(8)), Send(status))
    assert closed(coordinator.receive(recalled), "unexpected_message"), "nobody asked again"


def test_nothing_is_asked_of_a_node_that_was_never_seen() -> None:
    assert both()[2] == (Send(manifest(1)),)


@pytest.mark.parametrize("wrong", [m.Recalled(1, 4, b""), m.Recalled(2, 5, b"")])
def test_an_answer_to_another_question_closes_the_link(wrong: m.Recalled) -> None:
    assert closed(both(known=head(5))[1].receive(wrong), "unexpected_message")


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
        monkeypatch.setattr(session_module._Staging, "take", lambda self, message: self.waiting.clear())
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
                assert isinstance(output, Send | Close | Applied | Seen | Told)
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
