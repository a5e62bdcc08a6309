from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.protocol import messages as m
from eyeflow.protocol.identity import Identity, key_fingerprint, verifies
from eyeflow.protocol.session import (
    Accepted,
    Applied,
    Apply,
    Close,
    Connected,
    Coordinates,
    CoordinatorSession,
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

KEY = Identity(bytes(range(32)))
OTHER = Identity(bytes(range(1, 33)))
COORDINATOR = key_fingerprint(KEY.public_key)
OWN = Coordinates(COORDINATOR, "test", KEY.sign)
PROGRAMS = {digit * 64: f"program {digit}".encode() for digit in "1234"}
RULES = {digit * 64: f"rule_{digit}" for digit in "1234"}


def manifest(
    version: int, digits: str = "", *, node: str = "node", key: Identity = KEY, by: str = COORDINATOR
) -> m.Manifest:
    entries = tuple(m.ManifestEntry(f"rule_{digit}", digit * 64, f"d-{version}") for digit in sorted(digits))
    body = m.encode_manifest(m.WantedManifest(by, node, version, version, entries))
    return m.Manifest(body, key.sign(m.manifest_bytes(body)))


def offer(version: int, digits: str = "") -> Offer:
    return Offer(version, manifest(version, digits), {digit * 64: f"rule_{digit}" for digit in digits})


def head(seq: int = 5, digit: str = "a", epoch: int = 1, boot: bytes = bytes(16)) -> m.Head:
    return m.Head(boot, epoch, seq, bytes.fromhex(digit * 64))


def hello(version: int = 0, installed: str = "", speaks: int = 1) -> m.Hello:
    rules = tuple(m.InstalledRule(f"rule_{digit}", digit * 64) for digit in installed)
    return m.Hello(1, speaks, "test", "node", 1, 6, version, bytes(32), rules)


def welcome(version: int, nonce: bytes = bytes(32), key: Identity = KEY, node: str = "node") -> m.Welcome:
    signature = key.sign(m.welcome_bytes(COORDINATOR, node, nonce, 1, version))
    return m.Welcome(1, "test", COORDINATOR, version, 0, 10, signature)


def node_session(accepted: Accepted | None = None, installed: str = "") -> NodeSession:
    accepted = accepted or Accepted()
    return NodeSession(hello(accepted.version, installed), Peer(COORDINATOR, KEY.public_key), accepted, head())


def ready(version: int = 1, accepted: Accepted | None = None, installed: str = "") -> NodeSession:
    session = node_session(accepted, installed)
    assert session.receive(welcome(version)) == ()
    return session


def closed(outputs: tuple[Output, ...], code: str) -> bool:
    return len(outputs) == 1 and isinstance(outputs[0], Close) and outputs[0].code == code


def install(version: int, digit: str) -> m.Install:
    return m.Install(version, f"rule_{digit}", digit * 64, PROGRAMS[digit * 64])


def test_a_manifest_is_applied_only_once_all_its_programs_are_here() -> None:
    session = ready()
    assert session.receive(manifest(1, "12")) == (Send(m.Fetch(1, ("1" * 64, "2" * 64))),)
    assert session.receive(install(1, "2")) == ()
    outputs = session.receive(install(1, "1"))
    assert len(outputs) == 1 and isinstance(outputs[0], Apply)
    assert outputs[0].programs == {"1" * 64: b"program 1", "2" * 64: b"program 2"}
    results = (m.RuleResult("rule_1", "1" * 64, m.RuleState.INSTALLED),)
    assert session.applied(results, frozenset()) == (Send(m.ManifestResult(1, results)),)


def test_what_runs_already_is_not_fetched() -> None:
    session = ready(installed="1")
    assert session.receive(manifest(1, "12")) == (Send(m.Fetch(1, ("2" * 64,))),)
    outputs = ready(installed="12").receive(manifest(1, "12"))
    assert isinstance(outputs[0], Apply) and outputs[0].programs == {}


def test_a_lost_program_is_named() -> None:
    session = ready()
    session.receive(manifest(1, "1"))
    outputs = session.receive(m.Install(1, "rule_1", "1" * 64, b""))
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
        welcome(1, nonce=bytes(31) + b"\1"),
        welcome(1, key=OTHER),
        welcome(1, node="other"),
        replace(welcome(1), manifest_version=2),
        replace(welcome(1), coordinator_id="0" * 64),
    ],
)
def test_a_welcome_that_is_replayed_or_forged_is_refused(bad: m.Welcome) -> None:
    assert closed(node_session().receive(bad), "foreign_coordinator")
    assert node_session().receive(welcome(1)) == ()


def test_versions_must_overlap() -> None:
    assert closed(node_session().receive(replace(welcome(1), protocol=2)), "protocol_version")
    coordinator = CoordinatorSession("node", OWN, offer(1))
    assert closed(coordinator.receive(replace(hello(), protocol_min=3, protocol_max=4)), "protocol_version")
    newer = CoordinatorSession("node", OWN, offer(1)).receive(replace(hello(), protocol_max=9))
    assert isinstance(newer[0], Send) and isinstance(newer[0].message, m.Welcome) and newer[0].message.protocol == 2


def test_the_coordinator_serves_what_its_latest_manifest_names() -> None:
    session = CoordinatorSession("node", OWN, offer(1, "1"))
    first = session.receive(hello())
    assert [type(one).__name__ for one in first] == ["Send", "Connected", "Told", "Send"]
    sent = first[0]
    assert isinstance(sent, Send) and isinstance(sent.message, m.Welcome)
    assert verifies(KEY.public_key, m.welcome_bytes(COORDINATOR, "node", bytes(32), 1, 1), sent.message.signature)
    assert session.receive(m.Fetch(1, ("1" * 64,))) == (NeedPrograms(1, ("1" * 64,)),)
    assert session.deliver(1, {"1" * 64: b"x"}) == (Send(m.Install(1, "rule_1", "1" * 64, b"x")),)
    assert session.offer(offer(2, "2")) == (Send(manifest(2, "2")),)
    assert session.offer(offer(2, "2")) == ()
    assert session.deliver(1, {"1" * 64: b"x"}) == ()
    assert session.receive(m.Fetch(1, ("1" * 64,))) == ()
    assert closed(session.receive(m.Fetch(2, ("1" * 64,))), "unexpected_program")


def test_the_coordinator_closes_what_is_out_of_order() -> None:
    assert closed(CoordinatorSession("node", OWN, offer(1)).receive(m.Fetch(1, ())), "unexpected_message")
    assert closed(CoordinatorSession("other", OWN, offer(1)).receive(hello()), "wrong_node")
    assert closed(CoordinatorSession("node", OWN, offer(1)).receive(hello(2)), "manifest_ahead")
    session = CoordinatorSession("node", OWN, offer(1))
    session.receive(hello())
    assert closed(session.receive(hello()), "unexpected_message")
    session = CoordinatorSession("node", OWN, offer(1))
    session.receive(hello())
    assert closed(session.receive(m.ManifestResult(2, ())), "manifest_ahead")


def test_status_waits_for_the_link() -> None:
    status = m.Status(1, 1, 7, 1)
    assert node_session().status(status, head()) == ()
    assert ready().status(status, head()) == (Send(status),)
    session = CoordinatorSession("node", OWN, offer(1))
    session.receive(hello())
    assert session.receive(status) == (Told(m.Head(b"", 1, 6, b"")), Seen(status))


def both(known: m.Head | None = None) -> tuple[NodeSession, CoordinatorSession, tuple[Output, ...]]:
    """A node and a coordinator that speak protocol 2, after HELLO and WELCOME; and what else the coordinator does."""
    node = NodeSession(hello(speaks=2), Peer(COORDINATOR, KEY.public_key), Accepted(), head(7))
    coordinator = CoordinatorSession("node", OWN, offer(1), known=known)
    opening, *rest = coordinator.receive(hello(speaks=2))
    assert isinstance(opening, Send) and isinstance(opening.message, m.Welcome) and opening.message.protocol == 2
    assert node.receive(opening.message) == (Send(head(7)),), "the head comes before every result"
    return node, coordinator, tuple(rest)


def test_a_node_tells_its_head_and_is_asked_for_the_one_that_was_seen_before() -> None:
    node, coordinator, rest = both(known=head(5))
    assert [type(one) for one in rest] == [Connected, Send, Send]
    assert rest[1] == Send(m.Recall(1, 5)), "before the manifest: what the node then reports can be judged"
    asked = node.receive(m.Recall(1, 5))
    assert asked == (Remember(1, 5),) and isinstance(asked[0], Remember)
    answer = node.remembered(asked[0], bytes.fromhex("b" * 64))
    assert answer == (Send(m.Recalled(1, 5, bytes.fromhex("b" * 64))),)
    assert coordinator.receive(head(7)) == (Told(head(7)),)
    recalled = m.Recalled(1, 5, bytes.fromhex("b" * 64))
    assert coordinator.receive(recalled) == (Recollected(head(5), bytes.fromhex("b" * 64)),)
    status = m.Status(1, 1, 9, 1)
    assert node.status(status, head(8)) == (Send(head(8)), Send(status))
    assert coordinator.receive(status) == (Seen(status),), "the number alone says less than the head did"
    assert closed(coordinator.receive(recalled), "unexpected_message"), "nobody asked again"


def test_nothing_is_asked_of_a_node_that_was_never_seen_or_cannot_answer() -> None:
    assert [type(one) for one in both()[2]] == [Connected, Send]
    unnamed = m.Head(b"", 1, 5, b"")
    assert [type(one) for one in both(unnamed)[2]] == [Connected, Send], "seen with protocol 1: no hash to compare"
    old = CoordinatorSession("node", OWN, offer(1), known=head(5))
    assert [type(one) for one in old.receive(hello())] == [Send, Connected, Told, Send]
    assert closed(old.receive(head()), "unexpected_message"), "protocol 1 has no such message"
    assert closed(ready().receive(m.Recall(1, 5)), "unexpected_message")


@pytest.mark.parametrize("wrong", [m.Recalled(1, 4, b""), m.Recalled(2, 5, b"")])
def test_an_answer_to_another_question_closes_the_link(wrong: m.Recalled) -> None:
    assert closed(both(known=head(5))[1].receive(wrong), "unexpected_message")


to_node = st.one_of(
    st.integers(0, 4).map(welcome),
    st.builds(manifest, st.integers(0, 4), st.sampled_from(["", "1", "12", "34"])),
    st.builds(manifest, st.integers(0, 4), st.just("1"), key=st.just(OTHER)),
    st.builds(install, st.integers(0, 4), st.sampled_from("1234")),
    st.just(hello()),
    st.just(m.Fetch(1, ("1" * 64,))),
    st.just("applied"),
)


@seed(5)
@settings(max_examples=400, deadline=None)
@given(st.lists(to_node, max_size=25), st.integers(0, 2))
def test_no_order_of_messages_makes_a_node_go_back_or_mix(script: list[m.Message | str], version: int) -> None:
    session = node_session(Accepted(version, bytes(32)) if version else None)
    applying: Apply | None = None
    highest = version
    for step in [welcome(max(version, 1)), *script]:
        if isinstance(step, str):
            if applying is None:
                continue
            applying, outputs = None, session.applied((), frozenset())
        else:
            outputs = session.receive(step)
        for output in outputs:
            assert isinstance(output, Send | Apply | Close)
            if isinstance(output, Apply):
                assert applying is None, "never two manifests at once"
                applying = output
                wanted = {entry.program_id for entry in output.manifest.entries}
                assert set(output.programs) == wanted, "all programs, of this manifest only"
                assert output.manifest.version >= highest
                highest = output.manifest.version
            if isinstance(output, Close):
                assert session.phase is Phase.CLOSED
        assert session.accepted.version == highest


to_coordinator = st.one_of(
    st.just(hello()),
    st.integers(0, 9).map(hello),
    st.builds(m.Fetch, st.integers(0, 4), st.lists(st.sampled_from(sorted(PROGRAMS)), max_size=3).map(tuple)),
    st.builds(m.ManifestResult, st.integers(0, 6), st.just(())),
    st.just(m.Status(1, 1, 1, 1)),
    st.just(welcome(1)),
    st.builds(offer, st.integers(1, 6), st.sampled_from(["", "1", "12"])),
)


@seed(6)
@settings(max_examples=400, deadline=None)
@given(st.lists(to_coordinator, max_size=25))
def test_no_order_of_messages_makes_a_coordinator_give_what_is_not_wanted(script: list[m.Message | Offer]) -> None:
    session = CoordinatorSession("node", OWN, offer(1, "1"))
    latest, greeted = offer(1, "1"), False
    for step in script:
        if isinstance(step, Offer):
            latest = step if step.version > latest.version else latest
            outputs = session.offer(step)
        else:
            outputs = session.receive(step)
        for output in outputs:
            if isinstance(output, Send):
                greeted = greeted or isinstance(output.message, m.Welcome)
                assert greeted, "nothing goes out before WELCOME"
                if isinstance(output.message, m.Manifest):
                    assert output.message == latest.manifest
            elif isinstance(output, NeedPrograms):
                assert set(output.program_ids) <= set(latest.rules)
                given = {one: PROGRAMS[one] for one in output.program_ids}
                assert len(session.deliver(output.manifest_version, given)) == len(given)
            else:
                assert isinstance(output, Close | Connected | Applied | Seen | Told)
        assert session.offered_version == latest.version
