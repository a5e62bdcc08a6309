"""Copies of a node, and stores that were lost: what the coordinator sees of them, keeps, and lets follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from starlette.websockets import WebSocket

from eyeflow.coordinator.fleet import Draft, Fleet
from eyeflow.coordinator.heads import BOOTS_MAX, Doubt, Heads, History, judge
from eyeflow.coordinator.link import _Link
from eyeflow.coordinator.store import MIGRATIONS, SCHEMA_VERSION, Store
from eyeflow.protocol.messages import Head, Hello, ManifestResult, RuleResult, RuleState, encode_message
from eyeflow.rollout.plan import Deployment, NodeState, Rollback

PROGRAM, OLDER_PROGRAM = "1" * 64, "2" * 64


def head(seq: int, text: str = "a", epoch: int = 10, boot: int = 1) -> Head:
    return Head(boot.to_bytes(16), epoch, seq, bytes.fromhex(f"{seq:02x}{text * 62}"))


def shown(seq: int, text: str = "a", epoch: int = 10) -> Head:
    """A head as it is kept: the start of the process that told it is another matter."""
    return replace(head(seq, text, epoch), boot=b"")


def kinds(history: History) -> list[str]:
    return [one.kind.value for one in history.findings]


class Seen:
    """A coordinator's fleet with the nodes a and b, over a real store."""

    def __init__(self, path: Path) -> None:
        self.path, self.now_us, self.made = path, 1_000_000, 0
        self.store = Store(path)
        self.fleet = Fleet(self.store, self.new_id)
        with self.store.transaction():
            for name in "ab":
                self.store.run("INSERT INTO nodes(name, public_key, joined_us) VALUES(?, ?, 1)", (name, bytes(32)))
                self.fleet.node_joined(name, 1)

    def new_id(self) -> str:
        self.made += 1
        return f"d-{self.made}"

    def restart(self) -> None:
        """The coordinator is killed and starts again."""
        self.store.close()
        self.store = Store(self.path)
        self.fleet = Fleet(self.store, self.new_id)

    def told(self, *heads: Head, node: str = "a") -> History:
        for one in heads:
            self.now_us += 1_000_000
            self.fleet.told(node, one, self.now_us)
        return self.fleet.heads.of(node)

    def deploy(self, program_id: str = PROGRAM, rollback: Rollback = Rollback.ON_ERROR) -> Deployment:
        draft = Draft("pump", program_id, (), ("a", "b"), "immediate", rollback)
        return self.fleet.deploy(draft, self.now_us, "test")

    def answer(self, node: str, program_id: str = PROGRAM) -> None:
        version = self.store.row("SELECT manifest_version FROM nodes WHERE name = ?", (node,))
        assert version is not None
        result = ManifestResult(version[0], (RuleResult("pump", program_id, RuleState.INSTALLED),))
        self.fleet.applied(node, result, self.now_us)

    def states(self, deployment: Deployment) -> tuple[str, list[str]]:
        now = self.fleet.deployment(deployment.id)
        assert now is not None
        return now.state.value, [one.state.value for one in now.nodes]


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "store.sqlite")


SCRIPTS: list[tuple[list[Head], list[str]]] = [
    ([head(5), head(5), head(9)], []),
    ([head(5, boot=1), head(6, boot=2), head(7, boot=3)], []),
    ([head(9), head(5, boot=2)], ["older"]),
    ([head(9, epoch=11), head(50, epoch=10, boot=2)], ["older"]),
    ([head(9, "a"), head(9, "b", boot=2)], ["forked"]),
    ([head(9, boot=1), head(10, boot=2), head(11, boot=1)], ["twins"]),
    ([head(9), head(1, epoch=11, boot=2)], ["newEpoch"]),
    ([head(9), head(1, epoch=11, boot=2), head(12, boot=1)], ["newEpoch", "older", "twins"]),
    ([Head(b"", 10, 9, b""), Head(b"", 10, 12, b"")], []),
    ([Head(b"", 10, 9, b""), Head(b"", 10, 8, b"")], ["older"]),
    ([Head(b"", 10, 9, b""), head(9)], []),
]


@pytest.mark.parametrize(("script", "expected"), SCRIPTS)
def test_what_contradicts_a_history_is_found_and_survives_a_restart(
    seen: Seen, script: list[Head], expected: list[str]
) -> None:
    history = seen.told(*script)
    assert kinds(history) == expected
    assert history.doubtful is (set(expected) - {"newEpoch"} != set())
    seen.restart()
    if expected:  # what is no finding is written down with the next tick
        assert seen.fleet.heads.of("a") == history
    assert kinds(seen.fleet.heads.of("b")) == []


def test_the_highest_head_stays_when_an_older_copy_comes(seen: Seen) -> None:
    history = seen.told(head(9), head(5, boot=2), head(6, boot=2))
    assert history.head == shown(9)
    assert "its last record is 6, and was 9 before" in history.findings[0].evidence
    assert (history.findings[0].since_us, history.findings[0].last_us) == (3_000_000, 4_000_000)
    seen.restart()
    assert kinds(seen.told(head(7, boot=2))) == ["older"], "the coordinator has not forgotten the longer chain"


def test_a_head_is_durable_with_the_next_tick(seen: Seen) -> None:
    seen.told(head(5), head(9))
    seen.fleet.tick(seen.now_us)
    seen.restart()
    assert seen.fleet.heads.of("a").head == shown(9)
    assert kinds(seen.told(head(8, boot=2))) == ["older"]


def test_a_lost_store_is_told_with_both_epochs(seen: Seen) -> None:
    history = seen.told(head(9), head(2, epoch=77, boot=2))
    assert history.findings[0].evidence == "it lost its store: epoch 10 ended at record 9, now epoch 77"
    assert history.head == shown(2, epoch=77), "the new chain is what counts from now on"
    assert seen.fleet.heads.reason("a") == "", "it is an event, not a doubt: deployments to the node count"


def test_a_copy_that_has_run_past_the_last_head_is_known_by_its_records(seen: Seen) -> None:
    seen.told(head(9), head(12, "b", boot=2))
    assert kinds(seen.fleet.heads.of("a")) == []
    seen.fleet.recollected("a", shown(9), head(9).hash, seen.now_us)
    seen.fleet.recollected("a", shown(9), b"", seen.now_us)
    assert kinds(seen.fleet.heads.of("a")) == [], "the same record, or one that was dropped, says nothing"
    seen.fleet.recollected("a", shown(9), head(9, "b").hash, seen.now_us)
    assert kinds(seen.fleet.heads.of("a")) == ["forked"]
    assert seen.fleet.heads.of("a").head == shown(9), "the chain that was seen first is not forgotten"


def test_a_node_that_forgot_its_manifest_is_an_old_copy(seen: Seen) -> None:
    seen.deploy()
    seen.answer("a")
    for version, expected in ((2, []), (1, ["older"])):
        seen.fleet.said_hello("a", Hello(1, 2, "", "a", 10, 6, version, bytes(32)), seen.now_us)
        assert kinds(seen.fleet.heads.of("a")) == expected
    assert "knows manifest 1, and had applied manifest 2" in seen.fleet.heads.reason("a")


def test_a_deployment_does_not_succeed_with_a_node_in_doubt(seen: Seen) -> None:
    deployment = seen.deploy()
    seen.told(head(9), head(9, "b", boot=2))
    seen.answer("b")
    seen.answer("a")
    state, nodes = seen.states(deployment)
    assert (state, nodes[0]) == ("failed", "refused")
    now = seen.fleet.deployment(deployment.id)
    assert now is not None and "a: in doubt: its record 9 (epoch 10) has the hash 09bbbbbbbbbb" in now.reason


def test_control_the_same_deployment_succeeds_without_the_doubt(seen: Seen) -> None:
    deployment = seen.deploy()
    seen.told(head(9), head(10, "b", boot=2))
    seen.answer("b")
    seen.answer("a")
    assert seen.states(deployment) == ("succeeded", ["installed", "installed"])


def test_a_copy_found_after_its_answer_takes_the_answer_back(seen: Seen) -> None:
    deployment = seen.deploy()
    seen.answer("a")
    assert seen.states(deployment) == ("installing", ["installed", "waiting"])
    seen.told(head(9), head(8, boot=2))
    assert seen.states(deployment)[1] == ["refused", "returned"], "at once, without waiting for b"


def test_a_deployment_to_a_node_in_doubt_fails_at_once_and_others_are_served(seen: Seen) -> None:
    seen.told(head(9), head(8, boot=2))
    assert seen.states(seen.deploy()) == ("failed", ["refused", "returned"])
    kept = seen.deploy(rollback=Rollback.NEVER)
    assert seen.states(kept) == ("installing", ["refused", "waiting"])
    seen.answer("b")
    seen.answer("a")
    assert seen.states(kept) == ("failed", ["refused", "installed"])


def test_a_copy_that_goes_back_does_not_count_as_gone_back(seen: Seen) -> None:
    deployment = seen.deploy()
    seen.fleet.manifest_sent("a", 99, seen.now_us)
    sent = seen.fleet.deployment(deployment.id)
    assert sent is not None
    seen.fleet.cancel(sent, seen.now_us, "test")
    seen.told(head(9), head(8, boot=2))
    seen.answer("a")
    now = seen.fleet.deployment(deployment.id)
    progress = now.node("a") if now is not None else None
    assert progress is not None and progress.state is NodeState.RETURNED
    assert "could not go back: in doubt" in progress.reason


def test_accepting_a_node_forgets_what_contradicts_it_and_finds_the_next_contradiction(seen: Seen) -> None:
    seen.told(head(9), head(5, boot=2))
    seen.fleet.accept("a", seen.now_us, "admin")
    log = seen.store.rows("SELECT actor, action, subject FROM log ORDER BY number DESC LIMIT 1")
    assert log == [("admin", "accept_node", "a")]
    seen.restart()
    assert kinds(seen.told(head(6, boot=2))) == []
    assert seen.deploy().state.value == "installing"
    assert kinds(seen.told(head(10, boot=1), head(11, boot=2))) == ["twins"], "the other copy still runs"


def test_a_removed_node_leaves_no_history(seen: Seen) -> None:
    seen.told(head(9), head(5, boot=2))
    seen.fleet.node_removed("a", seen.now_us)
    assert seen.store.rows("SELECT node FROM heads UNION SELECT node FROM findings") == []


def test_what_a_broken_transaction_did_not_keep_is_kept_later(seen: Seen) -> None:
    with contextlib.suppress(ZeroDivisionError), seen.store.transaction():
        seen.told(head(9), head(5, boot=2))
        raise ZeroDivisionError
    assert seen.store.rows("SELECT node FROM findings") == []
    seen.fleet.tick(seen.now_us)
    assert seen.store.rows("SELECT node, kind FROM findings") == [("a", "older")]


def test_the_memory_of_starts_is_bounded(seen: Seen) -> None:
    history = seen.told(*(head(number, boot=number) for number in range(1, 3 * BOOTS_MAX)))
    assert (kinds(history), len(history.boots)) == ([], BOOTS_MAX)


steps = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["run", "start", "tell"])), max_size=40)


@seed(31)
@settings(max_examples=300, deadline=None)
@given(steps, st.integers(1, 2))
def test_one_node_is_never_in_doubt_and_two_copies_are_as_soon_as_both_have_spoken_twice(
    script: list[tuple[int, str]], copies: int
) -> None:
    """Two copies of one disk, or one of them only: each step a copy writes a record, starts again, or tells."""
    seqs, boots, made = [3, 3], [1, 2], 2
    writers = [["shared"] * 4, ["shared"] * 4]
    history = History()
    spoke: list[int] = []
    found: list[Doubt] = []
    for which, what in script:
        copy = which % copies
        if what == "run":
            seqs[copy] += 1
            writers[copy].append(str(copy))
        elif what == "start":
            made += 1
            boots[copy] = made
            seqs[copy] += 1  # a start is a record
            writers[copy].append(str(copy))
        else:
            text = "a" if writers[copy][seqs[copy]] == "shared" else f"{copy + 1}"
            history, doubts = judge(history, head(seqs[copy], text, boot=boots[copy]))
            found += [kind for kind, _ in doubts]
            spoke += [] if spoke[-1:] == [copy] else [copy]
            if len(spoke) >= 3 and "start" not in [one for _, one in script]:
                assert found, "a, then b, then a again: two processes"
    if copies == 1:
        assert found == []


def test_a_store_of_the_version_before_is_brought_up(tmp_path: Path) -> None:
    import apsw

    db = apsw.Connection(str(tmp_path / "old.sqlite"))
    db.execute(MIGRATIONS[0])
    db.execute("INSERT INTO meta VALUES('identity', ?)", (bytes(range(32)),))
    db.execute("INSERT INTO nodes(name, public_key, joined_us) VALUES('a', ?, 1)", (bytes(32),))
    db.pragma("user_version", 1)
    db.close()
    store = Store(tmp_path / "old.sqlite")
    assert store.identity.private_bytes() == bytes(range(32)), "it stays the same coordinator"
    assert store.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    heads = Heads(store)
    heads.told("a", head(3), 1)
    with store.transaction():
        heads.write()
    assert Heads(store).of("a").head == shown(3)
    store.close()


def test_a_head_is_durable_when_the_link_ends(seen: Seen) -> None:
    seen.told(head(5), head(9))
    seen.fleet.disconnected("a", seen.now_us)
    seen.restart()
    assert seen.fleet.heads.of("a").head == shown(9)


def test_what_a_replaced_link_still_brings_counts_for_nothing(api: Any, make: Any) -> None:
    """Without this the last words of a process that was restarted would look like those of a second one."""
    api.join("node-a", make.signer)
    offer = api.hub.fleet.offer("node-a")
    links = [_Link(api.hub, WebSocket({"type": "websocket"}, None, None), "node-a", offer) for _ in range(2)]  # type: ignore[arg-type]
    for number, link in enumerate(links, start=1):
        api.hub.attach(link)
        hello = Hello(1, 2, "", "node-a", 10, 6, 0, bytes(32))
        for message in (hello, head(5 + number, boot=number)):
            link._take(encode_message(message))
    links[0]._take(encode_message(head(9, boot=1)))
    assert api.hub.fleet.heads.of("node-a").findings == ()
    api.hub.attach(links[0])
    links[0]._take(encode_message(head(9, boot=1)))
    assert kinds(api.hub.fleet.heads.of("node-a")) == ["twins"], "the control: on a link of its own it counts"


def test_the_api_shows_findings_and_takes_the_acceptance(api: Any, make: Any) -> None:
    api.join("node-a", make.signer)
    for one in (head(9), head(5, boot=2)):
        api.hub.fleet.told("node-a", one, api.clock())
    found = api.ask("GET", "/api/nodes/node-a").json()
    assert found["inDoubt"] and found["head"] == {"epoch": 10, "seq": 9, "hash": head(9).hash.hex()}
    (finding,) = found["findings"]
    assert (finding["kind"], finding["blocks"], finding["sinceUs"]) == ("older", True, api.clock())
    assert finding["nextStep"].endswith("eyeflow nodes node-a --accept")
    assert api.ask("GET", "/api/status").json()["inDoubt"] == 1
    assert "eyeflow_coordinator_nodes_in_doubt 1" in api.ask("GET", "/metrics").text
    for role, status in (("read", 403), ("deploy", 403), ("admin", 200)):
        assert api.ask("POST", "/api/nodes/node-a/accept", role).status_code == status
    assert api.ask("GET", "/api/nodes/node-a").json()["findings"] == []


def test_joining_again_with_a_new_token_accepts_the_node(api: Any, make: Any) -> None:
    api.join("node-a", make.signer)
    tell: Callable[..., None] = api.hub.fleet.told
    tell("node-a", head(9), api.clock())
    tell("node-a", head(5, boot=2), api.clock())
    api.join("node-a", make.signer)
    assert api.ask("GET", "/api/nodes/node-a").json()["findings"] == []
