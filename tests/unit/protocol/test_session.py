"""Node and coordinator as two state machines: what each takes from the other, and what closes the link."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from eyeflow.protocol import executions as x
from eyeflow.protocol import messages as m
from eyeflow.protocol import opening as o
from eyeflow.protocol import session as session_module
from eyeflow.protocol.identity import verifies
from eyeflow.protocol.outputs import (
    Applied,
    Apply,
    Behind,
    Close,
    Compared,
    Connected,
    Hear,
    Heard,
    NeedPrograms,
    Noted,
    Output,
    Recollected,
    Remember,
    Rerun,
    Seen,
    Send,
    Told,
)
from eyeflow.protocol.session import Accepted, CoordinatorSession, NodeSession, Offer, Peer, Phase
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, VERSIONS
from eyeflow.protocol.wire import ProtocolError
from unit.protocol.examples import ASKED, DIFFERED, FAILED, LISTEN, LISTENED, REPLAYED
from unit.protocol.sessions import (
    COORDINATOR,
    KEY,
    OTHER,
    OWN,
    closed,
    head,
    hello,
    install,
    manifest,
    node_session,
    offer,
    ready,
    welcome,
)


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


def test_a_program_that_may_not_go_on_is_fetched_again_once_and_then_all_is_applied() -> None:
    """It ran when the manifest came. Then its signer was revoked, and another one may have signed it since."""
    session = ready(installed="1")
    session.receive(manifest(1, "12"))
    (apply,) = session.receive(install(1, "2"))
    assert isinstance(apply, Apply) and apply.programs.keys() == {"2" * 64}
    lost = frozenset({"1" * 64})
    assert session.fetch_again(apply, lost) == (Send(m.Fetch(1, ("1" * 64,))),)
    (again,) = session.receive(install(1, "1"))
    assert isinstance(again, Apply)
    assert again.programs == {"1" * 64: b"program 1", "2" * 64: b"program 2"} and again.digest == apply.digest
    assert session.fetch_again(again, lost) == (), "once"
    assert session.applied((), frozenset()) == (Send(m.ManifestResult(1, ())),)
    assert session.fetch_again(again, lost) == (), "nothing is applied now"


def test_nothing_is_fetched_again_when_a_newer_manifest_waits() -> None:
    session = ready(installed="1")
    (apply,) = session.receive(manifest(1, "1"))
    assert isinstance(apply, Apply) and session.receive(manifest(2, "1")) == ()
    assert session.fetch_again(apply, frozenset({"1" * 64})) == ()
    session.applied((), frozenset())


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


def test_a_manifest_that_takes_too_long_gives_way_to_a_newer_one_and_is_not_reported() -> None:
    """A board that is away may take hours: what replaced the manifest meanwhile is carried out instead."""
    session = ready()
    assert isinstance(session.receive(manifest(1))[0], Apply) and not session.is_outdated
    assert session.receive(manifest(2)) == () and session.is_outdated
    (apply,) = session.give_up(frozenset())
    assert isinstance(apply, Apply) and apply.manifest.version == 2 and not session.is_outdated
    assert session.applied((), frozenset()) == (Send(m.ManifestResult(2, ())),)


def test_a_link_that_ended_carries_out_no_newer_manifest() -> None:
    session = ready()
    session.receive(manifest(1))
    assert session.receive(manifest(2)) == () and session.is_outdated
    session.receive(hello())
    assert session.phase is Phase.CLOSED and session.give_up(frozenset()) == ()


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


@pytest.mark.parametrize("only", [2, 3])
def test_the_only_version_that_a_node_speaks_is_taken(only: int) -> None:
    mine = replace(hello(speaks=only), protocol_min=only)
    session = NodeSession(mine, Peer(COORDINATOR, KEY.public_key), Accepted(), head())
    assert session.receive(welcome(1, mine, protocol=only)) == (Send(head()),)
    lower = NodeSession(mine, Peer(COORDINATOR, KEY.public_key), Accepted(), head())
    assert closed(lower.receive(welcome(1, mine, protocol=only - 1)), "protocol_version")


def test_a_result_of_a_manifest_that_the_store_never_knew_says_which() -> None:
    session = CoordinatorSession("node", OWN, offer(1))
    session.receive(hello())
    session.welcome(offer(1))
    behind, close = session.receive(m.ManifestResult(9, ()))
    assert behind == Behind(9)
    assert isinstance(close, Close) and close.code == "manifest_ahead"
    assert "manifest 9" in close.reason and "knows 1" in close.reason


@pytest.mark.parametrize(("asked", "answered"), [(0, 0), (0, 1), (1, 0), (1, 2)])
def test_an_answer_to_a_replay_that_nobody_asked_for_closes_the_link(asked: int, answered: int) -> None:
    session = CoordinatorSession("node", OWN, offer(1))
    session.receive(hello())
    session.welcome(offer(1))
    if asked:
        assert session.replay(replace(ASKED, number=asked)) == (Send(replace(ASKED, number=asked)),)
    assert closed(session.receive(replace(REPLAYED, number=answered)), "unexpected_message")


@pytest.mark.parametrize(("asked", "answered"), [(0, 0), (0, 1), (1, 0), (1, 2)])
def test_lines_that_nobody_asked_for_close_the_link(asked: int, answered: int) -> None:
    session = CoordinatorSession("node", OWN, offer(1))
    session.receive(hello())
    session.welcome(offer(1))
    if asked:
        assert session.listen(replace(LISTEN, number=asked)) == (Send(replace(LISTEN, number=asked)),)
    assert closed(session.receive(replace(LISTENED, number=answered)), "unexpected_message")


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
    behind, *rest = CoordinatorSession("node", OWN, offer(1)).receive(hello(2))
    assert behind == Behind(2) and closed(tuple(rest), "manifest_ahead")
    behind, *rest = CoordinatorSession("node", OWN, offer(3), ahead=2).receive(hello(2))
    assert behind == Behind(2) and closed(tuple(rest), "manifest_ahead"), "other contents may have this number by now"
    assert CoordinatorSession("node", OWN, offer(3), ahead=2).receive(hello(1)) == (Connected(hello(1), 3),)
    refused = greeted(offer(2))
    behind, *rest = refused.refused()
    assert behind == Behind(2) and closed(tuple(rest), "manifest_ahead") and refused.refused() == ()
    assert closed(greeted().receive(hello()), "unexpected_message")
    assert closed(greeted().receive(m.ManifestResult(2, ()))[1:], "manifest_ahead")


def test_the_coordinator_hears_the_results_of_its_latest_manifest_and_of_older_ones() -> None:
    session = greeted(offer(2))
    for version in (1, 2):
        result = m.ManifestResult(version, ())
        assert session.receive(result) == (Applied(result),)
    assert closed(session.receive(m.ManifestResult(3, ()))[1:], "manifest_ahead")


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


def test_a_replay_is_asked_and_answered_over_a_link_that_knows_it() -> None:
    assert ready().receive(ASKED) == (Rerun(ASKED),)
    assert ready().replayed(REPLAYED) == (Send(REPLAYED),)
    assert node_session().replayed(REPLAYED) == ()
    _, knows, _ = both(speaks=3)
    assert knows.replay(ASKED) == (Send(ASKED),)
    assert knows.receive(REPLAYED) == (Compared(REPLAYED),)
    late = replace(REPLAYED, number=1)
    assert knows.receive(late) == (Compared(late),), "the answer to an older question may be late"
    assert closed(knows.receive(replace(REPLAYED, number=8)), "unexpected_message"), "nobody asked that"
    assert closed(greeted().receive(REPLAYED), "unexpected_message")
    _, older, _ = both(speaks=2)
    assert older.replay(ASKED) == (), "version 2 has no such message"


def test_lines_are_asked_and_answered_over_a_link_that_knows_them() -> None:
    assert ready().receive(LISTEN) == (Hear(LISTEN),)
    assert ready().listened(LISTENED) == (Send(LISTENED),)
    assert node_session().listened(LISTENED) == ()
    _, knows, _ = both(speaks=3)
    assert knows.listen(LISTEN) == (Send(LISTEN),)
    assert knows.receive(LISTENED) == (Heard(LISTENED),)
    assert knows.receive(replace(LISTENED, number=1)) == (Heard(replace(LISTENED, number=1)),), "it may be late"
    assert closed(greeted().receive(LISTENED), "unexpected_message")
    _, older, _ = both(speaks=2)
    assert older.listen(LISTEN) == (), "version 2 has no such message"


@pytest.mark.parametrize("told", [DIFFERED, FAILED])
def test_single_executions_are_told_over_a_link_that_knows_them(told: x.Differences | x.Failures) -> None:
    assert node_session().executions(told) == ()
    assert ready().executions(told) == (Send(told),)
    assert greeted().receive(told) == (Noted(told),)
    older, _, _ = both(speaks=2)
    assert older.executions(told) == (), "version 2 has no such message"


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
