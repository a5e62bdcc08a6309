"""Copies of a node, and stores that were lost: what the coordinator sees of them, keeps, and lets follow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from starlette.websockets import WebSocket

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.histories import BOOTS_MAX, Doubt, History, judge
from eyeflow.coordinator.link import _Link
from eyeflow.protocol.messages import Head, WantedManifest
from eyeflow.protocol.opening import OPENING, Hello
from eyeflow.protocol.versions import VERSIONS, ProtocolVersion
from eyeflow.protocol.wire import ProtocolError
from eyeflow.rollout.deployment import NodeState, Rollback
from unit.coordinator.seen import OLDER_PROGRAM, Seen, add_node


def head(seq: int, text: str = "a", epoch: int = 10, boot: int = 1) -> Head:
    return Head(boot.to_bytes(16), epoch, seq, bytes.fromhex(f"{seq:02x}{text * 62}"))


def shown(seq: int, text: str = "a", epoch: int = 10) -> Head:
    """A head as it is kept: the start of the process that told it is another matter."""
    return replace(head(seq, text, epoch), boot=b"")


def kinds(history: History) -> list[str]:
    return [one.kind.value for one in history.findings]


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    with closing(Seen(tmp_path / "store.sqlite")) as made:
        yield made


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
        assert seen.history() == history
    assert kinds(seen.history("b")) == []


def test_the_highest_head_stays_when_an_older_copy_comes(seen: Seen) -> None:
    history = seen.told(head(9), head(5, boot=2), head(6, boot=2))
    assert history.head == shown(9)
    assert "its last record is 6, and was 9 before" in history.findings[0].evidence
    assert (history.findings[0].since_us, history.findings[0].last_us) == (3_000_000, 4_000_000)
    seen.restart()
    assert kinds(seen.told(head(7, boot=2))) == ["older"], "the coordinator has not forgotten the longer chain"


def test_a_head_is_durable_with_the_next_tick(seen: Seen) -> None:
    seen.told(head(5), head(9))
    seen.tick()
    seen.restart()
    assert seen.history().head == shown(9)
    assert kinds(seen.told(head(8, boot=2))) == ["older"]


def test_a_lost_store_is_told_with_both_epochs(seen: Seen) -> None:
    history = seen.told(head(9), head(2, epoch=77, boot=2))
    assert history.findings[0].evidence == "it lost its store: epoch 10 ended at record 9, now epoch 77"
    assert history.head == shown(2, epoch=77), "the new chain is what counts from now on"
    assert seen.history().reason == "", "it is an event, not a doubt: deployments to the node count"


def test_a_copy_that_has_run_past_the_last_head_is_known_by_its_records(seen: Seen) -> None:
    seen.told(head(9), head(12, "b", boot=2))
    assert kinds(seen.history()) == []
    seen.recollected(shown(9), head(9).hash)
    seen.recollected(shown(9), b"")
    assert kinds(seen.history()) == [], "the same record, or one that was dropped, says nothing"
    seen.recollected(shown(9), head(9, "b").hash)
    assert kinds(seen.history()) == ["forked"]
    assert seen.history().head == shown(9), "the chain that was seen first is not forgotten"


def test_a_node_that_forgot_its_manifest_is_an_old_copy(seen: Seen) -> None:
    seen.deploy()
    seen.answer("a")
    for version, expected in ((2, []), (1, ["older"])):
        hello = Hello(2, 3, "", "a", version, bytes(32))
        seen.run(lambda hello=hello: seen.hub.nodes.said_hello("a", hello, 2, seen.now_us))  # type: ignore[misc]
        assert kinds(seen.history()) == expected
    assert "knows manifest 1, and had applied manifest 2" in seen.history().reason


def test_a_deployment_does_not_succeed_with_a_node_in_doubt(seen: Seen) -> None:
    deployment = seen.deploy()
    seen.told(head(9), head(9, "b", boot=2))
    seen.answer("b")
    seen.answer("a")
    state, nodes = seen.states(deployment)
    assert (state, nodes[0]) == ("failed", "refused")
    assert "a: in doubt: its record 9 (epoch 10) has the hash 09bbbbbbbbbb" in seen.now(deployment).reason


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
    seen.run(lambda: seen.hub.deployments.sent("a", 99, seen.now_us))
    seen.run(lambda: seen.hub.deployments.cancel(deployment.id, seen.now_us, "test"))
    seen.told(head(9), head(8, boot=2))
    seen.answer("a")
    progress = seen.progress(deployment)["a"]
    assert progress.state is NodeState.RETURNED
    assert "could not go back: in doubt" in progress.reason


def test_accepting_a_node_forgets_what_contradicts_it_and_finds_the_next_contradiction(seen: Seen) -> None:
    seen.told(head(9), head(5, boot=2))
    seen.accept("a")
    (entry,) = seen.look(lambda reading: reading.log_entries(1))
    assert (entry.actor, entry.action, entry.subject) == ("admin", "accept_node", "a")
    seen.restart()
    assert kinds(seen.told(head(6, boot=2))) == []
    assert seen.deploy().state.value == "installing"
    assert kinds(seen.told(head(10, boot=1), head(11, boot=2))) == ["twins"], "the other copy still runs"


def test_a_removed_node_leaves_no_history(seen: Seen) -> None:
    seen.told(head(9), head(5, boot=2))
    seen.run(lambda: seen.hub.remove("a", "admin"))
    assert seen.look(lambda reading: reading.history("a")) == History()
    assert seen.history() == History()


def test_what_a_failing_disk_did_not_keep_is_kept_later(seen: Seen) -> None:
    seen.told(head(9))
    db = seen.store.file._db
    db.pragma("query_only", True)
    with pytest.raises(EyeflowError):
        seen.told(head(5, boot=2))
    assert seen.look(lambda reading: reading.history("a")).findings == ()
    seen.tick()
    assert seen.hub.trouble, "it still fails"
    db.pragma("query_only", False)
    seen.tick()
    assert [one.kind.value for one in seen.look(lambda reading: reading.history("a")).findings] == ["older"]
    assert seen.hub.trouble == ""


def test_a_link_that_ends_while_the_next_one_opens_forgets_nothing(seen: Seen) -> None:
    seen.told(head(9))

    async def both() -> None:
        nodes = seen.hub.nodes
        await asyncio.gather(nodes.link_opens("a"), nodes.link_closed("a", seen.now_us))

    seen.run(both)
    assert kinds(seen.told(head(5, boot=2))) == ["older"]


def test_what_the_link_of_a_removed_node_still_brings_is_nobodys_history(seen: Seen) -> None:
    seen.run(lambda: seen.hub.remove("a", "admin"))
    seen.told(head(9))
    assert seen.history() == History()
    seen.store.file.commit([partial(add_node, hub=seen.hub, name="a")])
    seen.run(lambda: seen.hub.nodes.link_opens("a"))
    assert kinds(seen.told(head(1, boot=7))) == [], "another node with the same name"


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
            found += [one.kind for one in doubts]
            spoke += [] if spoke[-1:] == [copy] else [copy]
            if len(spoke) >= 3 and "start" not in [one for _, one in script]:
                assert found, "a, then b, then a again: two processes"
    if copies == 1:
        assert found == []


def test_a_head_is_durable_when_the_link_ends(seen: Seen) -> None:
    seen.told(head(5), head(9))
    seen.run(lambda: seen.hub.nodes.link_closed("a", seen.now_us))
    seen.restart()
    assert seen.history().head == shown(9)


def test_what_a_replaced_link_still_brings_counts_for_nothing(api: Any, make: Any) -> None:
    """Without this the last words of a process that was restarted would look like those of a second one."""
    api.join("node-a", make.signer)
    links = [_Link(api.hub, WebSocket({"type": "websocket"}, None, None), "node-a") for _ in range(2)]  # type: ignore[arg-type]

    async def scenario() -> None:
        for number, link in enumerate(links, start=1):
            await api.hub.attach(link)
            await link.open()
            await link._take(OPENING.encode(Hello(2, 3, "", "node-a", 0, bytes(32))))
            await link._take(VERSIONS[3].encode(head(5 + number, boot=number)))
        await links[0]._take(VERSIONS[3].encode(head(9, boot=1)))
        assert api.hub.nodes._history("node-a").findings == ()
        await api.hub.attach(links[0])
        await links[0]._take(VERSIONS[3].encode(head(9, boot=1)))
        found = kinds(api.hub.nodes._history("node-a"))
        assert found == ["twins"], "the control: on a link of its own it counts"

    api.run(scenario)


def test_the_api_shows_findings_and_takes_the_acceptance(api: Any, make: Any) -> None:
    api.join("node-a", make.signer)
    api.run(lambda: api.hub.nodes.link_opens("node-a"))
    for one in (head(9), head(5, boot=2)):
        api.run(lambda one=one: api.hub.nodes.told("node-a", one, api.clock()))
    found = api.ask("GET", "/api/nodes/node-a").json()
    assert found["inDoubt"] and found["head"] == {"epoch": 10, "seq": 9, "hash": head(9).hash.hex()}
    (finding,) = found["findings"]
    assert (finding["kind"], finding["blocks"], finding["sinceUs"]) == ("older", True, api.clock())
    assert finding["nextStep"].endswith("eyeflow nodes accept node-a")
    assert api.ask("GET", "/api/status").json()["inDoubt"] == 1
    assert "eyeflow_coordinator_nodes_in_doubt 1.0" in api.ask("GET", "/metrics").text
    for role, status in (("read", 403), ("deploy", 403), ("admin", 200)):
        assert api.ask("POST", "/api/nodes/node-a/accept", role).status_code == status
    assert api.ask("GET", "/api/nodes/node-a").json()["findings"] == []


def test_joining_again_with_a_new_token_accepts_the_node(api: Any, make: Any) -> None:
    api.join("node-a", make.signer)
    api.run(lambda: api.hub.nodes.link_opens("node-a"))
    for one in (head(9), head(5, boot=2)):
        api.run(lambda one=one: api.hub.nodes.told("node-a", one, api.clock()))
    assert api.ask("GET", "/api/nodes/node-a").json()["inDoubt"]
    api.join("node-a", make.signer)
    assert api.ask("GET", "/api/nodes/node-a").json()["findings"] == []


@pytest.mark.parametrize("how_far", ["answered", "sent", "offline"])
def test_a_deployment_that_fails_before_it_begins_takes_back_what_never_passed(seen: Seen, how_far: str) -> None:
    seen.told(head(9), head(8, boot=2))  # a is in doubt, so that no deployment with it begins
    seen.deploy(OLDER_PROGRAM, Rollback.NEVER, "ab" if how_far == "answered" else "b")
    if how_far != "offline":
        seen.run(lambda: seen.hub.deployments.sent("b", 99, seen.now_us))
    if how_far == "answered":
        seen.answer("b", OLDER_PROGRAM)
    second = seen.deploy()
    assert seen.look(lambda reading: reading.wanted("b")) == [], "no program of the rule ever passed there"
    if how_far == "offline":
        assert seen.states(second) == ("failed", ["refused", "returned"])
        return
    assert seen.states(second) == ("rollingBack", ["refused", "returning"]), "it may run what it was sent"
    seen.answer("b", OLDER_PROGRAM)
    assert seen.states(second) == ("failed", ["refused", "returned"])


def test_control_what_passed_stays_and_its_node_is_told_nothing(seen: Seen) -> None:
    seen.deploy(OLDER_PROGRAM, nodes="b")
    seen.answer("b", OLDER_PROGRAM)
    seen.told(head(9), head(8, boot=2))
    before = seen.look(lambda reading: reading.manifest("b"))
    assert seen.states(seen.deploy()) == ("failed", ["refused", "returned"])
    assert seen.look(lambda reading: reading.manifest("b")) == before


def test_a_way_back_that_is_too_large_for_its_node_holds_up_no_other(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control is the same size in a request: there somebody is told, and nothing of it is kept."""
    first, other = seen.deploy(nodes="a"), seen.deploy(nodes="b")
    real = ProtocolVersion.encode_manifest

    def bounded(self: ProtocolVersion, manifest: WantedManifest) -> bytes:
        if manifest.node == "a":
            raise ProtocolError("a manifest of 9,000,000 bytes")
        return real(self, manifest)

    monkeypatch.setattr(ProtocolVersion, "encode_manifest", bounded)
    seen.now_us += 10 * 86_400_000_000
    seen.tick()
    for one in (first, other):
        assert seen.now(one).state.value == "failed", "both deadlines passed"
    node = seen.look(lambda reading: reading.node("a"))
    assert node is not None and "too large: a manifest of 9,000,000 bytes" in node.problem
    with pytest.raises(ProtocolError):
        seen.deploy(nodes="a")
