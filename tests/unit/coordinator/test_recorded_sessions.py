"""Sessions of each protocol version, as a real node and a real coordinator spoke them, replayed against both sides.

`sessions/version_N.json` holds the bytes of both directions, as each side read and wrote them. A replay gives a side
what it read, and it must write the same bytes. What the parts around a session know (which programs are installed,
what the node's health is) comes from the recording itself. A change that fails here would cut old peers off.

`EYEFLOW_UPDATE_GOLDEN=1 pytest tests/unit/coordinator/test_recorded_sessions.py` records anew; CI refuses that. Only a
version that nobody speaks yet may be recorded anew. The file of a version that is not spoken any more is removed.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eyeflow.coordinator import link as coordinator_link
from eyeflow.node.cluster import link as node_link
from eyeflow.protocol import collecting as z
from eyeflow.protocol import executions as x
from eyeflow.protocol import lines as n
from eyeflow.protocol import messages as m
from eyeflow.protocol import outputs as o
from eyeflow.protocol import replays as y
from eyeflow.protocol import session as s
from eyeflow.protocol.audit_bodies import CheckpointBody, StopBody
from eyeflow.protocol.identity import Identity, key_fingerprint
from eyeflow.protocol.opening import OPENING, Hello, Welcome
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import VERSIONS
from eyeflow.protocol.wire import ProtocolError

FOLDER = Path(__file__).parent / "sessions"
OCTETS = {"Content-Type": "application/octet-stream"}
EACH = pytest.mark.parametrize("version", VERSIONS)

EXECUTIONS = {x.Differences, x.Failures}
NEW = EXECUTIONS | {y.Replay, y.Replayed, z.Collect, z.Collected, n.Listen, n.Listened}
KINDS = {2: set(m.Message.__args__) - NEW, 3: set(m.Message.__args__)}
"""The messages of each version."""

Frame = tuple[str, bytes]
"""(`read` or `wrote`, the bytes)"""


def record(version: int, cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let a node that speaks up to `version` join, install, refuse, remove, lose its link and come back."""
    seen: dict[str, list[list[str]]] = {"node": [], "coordinator": []}

    def tapped(kind: Any, side: str) -> Any:
        class Tapped(kind):  # type: ignore[misc]
            def read(self, data: bytes) -> Any:
                seen[side].append(["read", data.hex()])
                return super().read(data)

            def write(self, message: Any) -> bytes:
                data: bytes = super().write(message)
                seen[side].append(["wrote", data.hex()])
                return data

        return Tapped

    monkeypatch.setattr(node_link, "PROTOCOL_VERSION_MAX", version)
    monkeypatch.setattr(node_link, "NodeSession", tapped(s.NodeSession, "node"))
    tapped_there: Any = tapped(s.CoordinatorSession, "coordinator")
    monkeypatch.setattr(coordinator_link, "CoordinatorSession", tapped_there)
    own: list[s.Coordinates] = []
    monkeypatch.setattr(
        tapped_there,
        "__init__",
        lambda self, node, said, *rest, **more: (
            own.append(said),
            s.CoordinatorSession.__init__(self, node, said, *rest, **more),
        )[1],
    )
    asyncio.run(_walk(cluster, make))
    key = own[0].sign.__self__.private_bytes()  # type: ignore[attr-defined]
    return {"protocol": version, "coordinator_key": key.hex(), "software": own[0].software, **seen}


async def _walk(cluster: Any, make: Any) -> None:
    async with cluster.coordinator() as client:
        node = make.control("node-a", refuse={"2.0.0"})
        decided = x.Trace(97, ("adc.read_channel(0) = 7",), ("gpio.set_pin(RELAY, HIGH) at line 14",))
        what = ("d-1", x.FailureKind.TRAP, 9, "trap INDEX at line 3", decided, "mqtt t: n = 1", "t")
        node.differing = (x.Difference("overheat", "ab" * 32, "d-1", 9, x.Trace(96), decided, "mqtt t: n = 1", "t"),)
        node.failed = (x.Failure("overheat", Slot.CANDIDATE, "ab" * 32, *what),)
        node.answers = _answered
        node.lines = (n.BoardLine(1_000, 9, 2, "door open"), n.BoardLine(1_001, 9, 0, "", ("is it hot?",)))
        node.note(StopBody("first"), StopBody("second"), CheckpointBody(node.key.public_key))
        node.slot_states = (z.SlotState("overheat", Slot.ACTIVE, "", "ab" * 32, b"state"),)
        await cluster.join(client, node)
        cluster.dial(node)
        for program in (make.program(), make.program(version="2.0.0", sequence=2), make.program("pump")):
            uploaded = (await client.post("/api/programs", content=program, headers=OCTETS)).json()
            body = {"all": True, "programId": uploaded["id"], "params": {"limit": 90.5}}
            reply = await client.post(f"/api/rules/{uploaded['rule']}/deploy", json=body)
            await make.ended(client, reply.headers["location"])
        again = make.program(version="3.0.0", sequence=3)
        await client.post("/api/programs", content=again, headers=OCTETS)
        plan = {"all": True, "changes": [{"rule": "overheat"}], "replay": {"spanS": 60}}
        asked = (await client.post("/api/deployments/plan", json=plan)).json()
        protocol = (await client.get("/api/nodes/node-a")).json()["protocol"]
        assert asked["replay"][0]["events"] == (7 if protocol > 2 else 0), asked
        if protocol > 2:
            await make.until(_copied(client, 3), "the audit is copied")
            node.note(StopBody("third"))
            await make.until(_copied(client, 4), "what is new is copied")
        assert (await client.delete("/api/nodes/node-a/rules/pump")).status_code < 300
        await make.until(_lost(node, "pump"), "the rule is gone")
        await cluster.hang_up("node-a")
        cluster.dial(node)

        async def seen_us() -> int:
            return int((await client.get("/api/nodes/node-a")).json()["lastSeenUs"])

        async def is_back() -> bool:
            return bool(cluster.links["node-a"].status.counters["manifests"]) and await seen_us() > left_us

        left_us = await seen_us()
        await make.until(is_back, "the node is back and has told its status")
        told = await client.get("/api/nodes/node-a/lines", params={"since": 1_001})
        assert told.status_code == (200 if protocol > 2 else 409), told.text
        await cluster.hang_up_all()


async def _answered(asked: y.Replay) -> y.Replayed:
    found = [y.ReplayResult(one.rule, one.program_id, events=7) for one in asked.programs]
    return y.Replayed(asked.number, tuple(found))


def _copied(client: Any, seq: int) -> Any:
    async def copied() -> bool:
        return bool((await client.get("/api/nodes/node-a")).json()["copy"]["seq"] == seq)

    return copied


def _lost(node: Any, rule: str) -> Any:
    async def gone() -> bool:
        return rule not in node.running

    return gone


def recorded(version: int, side: str) -> tuple[dict[str, Any], list[Frame]]:
    found = json.loads((FOLDER / f"version_{version}.json").read_text())
    return found, [(way, bytes.fromhex(text)) for way, text in found[side]]


@EACH
def test_update_recordings(version: int, cluster: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message of a version stands in its recording; in update mode the recording is made here."""
    if os.environ.get("EYEFLOW_UPDATE_GOLDEN") == "1":
        assert not os.environ.get("CI"), (
            "sessions are never recorded in CI: record them on your machine and commit them"
        )
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(record(version, cluster, make, monkeypatch), indent=0)
        (FOLDER / f"version_{version}.json").write_text(text + "\n")
    said = [VERSIONS[version].decode(data) for _, data in recorded(version, "node")[1] if not _is_opening(data)]
    assert {type(one) for one in said} == KINDS[version]
    states = {one.state for result in said if isinstance(result, m.ManifestResult) for one in result.results}
    assert states == set(m.RuleState)


def test_there_is_a_recording_of_each_version_that_is_spoken() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"version_{number}.json" for number in VERSIONS}


def _is_opening(data: bytes) -> bool:
    try:
        OPENING.decode(data)
    except ProtocolError:
        return False
    return True


class NodeReplay:
    """The node's side: it reads what it read, and must write what it wrote."""

    def __init__(self, found: dict[str, Any], frames: list[Frame]) -> None:
        key = Identity(bytes.fromhex(found["coordinator_key"]))
        self.peer = s.Peer(key_fingerprint(key.public_key), key.public_key)
        self.frames = frames
        self.held: frozenset[m.InstalledRule] = frozenset()
        self.accepted = s.Accepted()
        self.due: list[bytes] = []
        self.asked: list[o.Remember] = []
        self.replays: list[y.Replay] = []
        self.listens: list[n.Listen] = []
        self.collects: list[z.Collect] = []
        self.applying: o.Apply | None = None
        self.head: m.Head | None = None
        self.links = self.told = 0
        nobody = Hello(1, 1, "", "nobody", 0, bytes(32))
        self.session = s.NodeSession(nobody, self.peer, self.accepted, m.Head(b"", 0, 0, b""))

    def run(self) -> None:
        for place, (way, data) in enumerate(self.frames):
            if way == "read":
                self.do(self.session.receive(self.session.read(data)))
                continue
            if not self.due:
                self.stir(data, place)
            assert self.due.pop(0) == data, f"frame {place} is answered otherwise"
        self.check_all_answered()
        assert self.links > 1
        assert self.told == (2 * self.links if KINDS[self.session.protocol] >= EXECUTIONS else 0)

    def check_all_answered(self) -> None:
        assert (self.due, self.asked, self.replays, self.listens, self.applying) == ([], [], [], [], None)

    def stir(self, data: bytes, place: int) -> None:
        """Something around the session let it write: do that again."""
        if _is_opening(data):
            self.open(data, place)
            return
        message = VERSIONS[self.session.protocol].decode(data)
        if isinstance(message, m.ManifestResult):
            self.apply(message)
        elif isinstance(message, m.Recalled):
            self.do(self.session.remembered(self.asked.pop(0), message.hash))
        elif isinstance(message, m.Head):
            assert place + 1 < len(self.frames), "a status follows a head"
            status = VERSIONS[self.session.protocol].decode(self.frames[place + 1][1])
            assert isinstance(status, m.Status)
            self.do(self.session.status(status, message))
        elif isinstance(message, z.Collected):
            assert self.collects.pop(0).after_seq < message.first_seq
            self.do(self.session.collected(message))
        elif isinstance(message, y.Replayed):
            assert self.replays.pop(0).number == message.number
            self.do(self.session.replayed(message))
        elif isinstance(message, n.Listened):
            assert self.listens.pop(0).number == message.number
            self.do(self.session.listened(message))
        elif isinstance(message, x.Differences | x.Failures):
            self.told += 1
            self.do(self.session.executions(message))
        else:
            raise AssertionError(f"frame {place}: a node says {type(message).__name__} only when it is asked")

    def open(self, data: bytes, place: int) -> None:
        """A new link; the head that the node tells after WELCOME is as old as its HELLO."""
        self.check_all_answered()
        self.collects = []  # one is open for whatever comes next
        hello = OPENING.decode(data)
        assert isinstance(hello, Hello)
        head = next(one for one in self.messages(place + 2) if isinstance(one, m.Head))
        self.session = s.NodeSession(hello, self.peer, self.accepted, head, self.held)
        self.links += 1
        self.do(self.session.start())

    def messages(self, place: int) -> Iterator[m.Message]:
        version = OPENING.decode(self.frames[place - 1][1])
        assert isinstance(version, Welcome)
        return (VERSIONS[version.protocol].decode(data) for _, data in self.frames[place:])

    def apply(self, result: m.ManifestResult) -> None:
        assert self.applying is not None and result.manifest_version == self.applying.manifest.version
        entries, self.applying = self.applying.manifest.entries, None
        installed = {one.rule for one in result.results if one.state is m.RuleState.INSTALLED}
        kept = {one for one in self.held if one.rule in {entry.rule for entry in entries} - installed}
        made = {m.InstalledRule(one.rule, one.program_id, one.params) for one in entries if one.rule in installed}
        self.held = frozenset(kept | made)
        self.do(self.session.applied(result.results, self.held))

    def do(self, outputs: tuple[o.Output, ...]) -> None:
        for output in outputs:
            if isinstance(output, o.Send):
                self.due.append(self.session.write(output.message))
            elif isinstance(output, o.Apply):
                self.applying, self.accepted = output, self.session.accepted
            elif isinstance(output, o.Remember):
                self.asked.append(output)
            elif isinstance(output, o.Rerun):
                self.replays.append(output.replay)
            elif isinstance(output, o.Hear):
                self.listens.append(output.listen)
            elif isinstance(output, o.Gather):
                assert not self.collects, "the last ask has no answer"
                self.collects = [output.collect]
            else:
                raise AssertionError(output)


class CoordinatorReplay:
    """The coordinator's side, likewise."""

    def __init__(self, found: dict[str, Any], frames: list[Frame]) -> None:
        key = Identity(bytes.fromhex(found["coordinator_key"]))
        self.own = s.Coordinates(key_fingerprint(key.public_key), found["software"], key.sign)
        self.frames = frames
        self.known: m.Head | None = None
        self.due: list[bytes] = []
        self.needed: list[tuple[int, str]] = []
        self.told: list[type[Any]] = []
        self.links = 0

    def run(self) -> None:
        for place, (way, data) in enumerate(self.frames):
            if way == "read":
                self.take(data, place)
                continue
            if not self.due:
                self.stir(data, place)
            assert self.due.pop(0) == data, f"frame {place} is answered otherwise"
        assert self.links > 1 and self.due == [] and self.needed == []
        self.check_asks()
        told = {o.Connected, o.NeedPrograms, o.Applied, o.Seen, o.Told, o.Recollected}
        assert set(self.told) == told | (
            {o.Noted, o.Compared, o.Heard, o.Gathered} if KINDS[self.session.protocol] >= EXECUTIONS else set()
        )

    def take(self, data: bytes, place: int) -> None:
        if not _is_opening(data):
            outputs = self.session.receive(self.session.read(data))
            answers = isinstance(VERSIONS[self.session.protocol].decode(data), z.Collected)
            assert answers == any(isinstance(one, o.Gathered) for one in outputs), "what came was not asked for"
            self.do(outputs, place)
            return
        if self.links:
            self.check_asks()
        hello = OPENING.decode(data)
        assert isinstance(hello, Hello)
        self.session = s.CoordinatorSession(hello.node, self.own, self.next_offer(place), known=self.known)
        self.links += 1
        self.do(self.session.receive(self.session.read(data)), place)

    def check_asks(self) -> None:
        """A link asks for whatever comes next to its end."""
        assert (self.session._asked is not None) == self.session.collects

    def next_offer(self, place: int) -> s.Offer:
        """What the store wanted: the manifest that goes out next."""
        welcome = next(one for way, data in self.frames[place:] if way == "wrote" and (one := OPENING.decode(data)))
        assert isinstance(welcome, Welcome)
        version = VERSIONS[welcome.protocol]
        later = (data for way, data in self.frames[place + 2 :] if way == "wrote")
        return _offer(next(one for data in later if isinstance(one := version.decode(data), m.Manifest)), version)

    def stir(self, data: bytes, place: int) -> None:
        version = VERSIONS[self.session.protocol]
        message = version.decode(data)
        if isinstance(message, m.Install):
            asked, self.needed = self.needed[:1], self.needed[1:]
            assert asked == [(message.manifest_version, message.program_id)]
            self.do(self.session.deliver(message.manifest_version, {message.program_id: message.program}), place)
        elif isinstance(message, y.Replay):
            self.do(self.session.replay(message), place)
        elif isinstance(message, n.Listen):
            self.do(self.session.listen(message), place)
        elif isinstance(message, z.Collect):
            self.do(self.session.collect(message), place)
        else:
            assert isinstance(message, m.Manifest), f"frame {place}: {type(message).__name__} comes only as an answer"
            self.do(self.session.offer(_offer(message, version)), place)

    def do(self, outputs: tuple[o.Output, ...], place: int) -> None:
        for output in outputs:
            if isinstance(output, o.Send):
                self.due.append(self.session.write(output.message))
                continue
            assert not isinstance(output, o.Close), f"frame {place}: {output}"
            self.told.append(type(output))
            if isinstance(output, o.Connected):
                self.do(self.session.welcome(self.next_offer(place)), place)
            elif isinstance(output, o.NeedPrograms):
                self.needed += [(output.manifest_version, one) for one in output.program_ids]
            elif isinstance(output, o.Told):
                self.known = output.head
            elif isinstance(output, o.Applied):
                assert all(one.slot is Slot.ACTIVE for one in output.result.results)


def _offer(manifest: m.Manifest, version: Any) -> s.Offer:
    wanted = version.decode_manifest(manifest.body)
    return s.Offer(wanted.version, manifest, frozenset(one.program_id for one in wanted.entries))


@EACH
def test_a_node_answers_a_recorded_session_as_it_did(version: int) -> None:
    NodeReplay(*recorded(version, "node")).run()


@EACH
def test_a_coordinator_answers_a_recorded_session_as_it_did(version: int) -> None:
    CoordinatorReplay(*recorded(version, "coordinator")).run()


@EACH
@pytest.mark.parametrize("replay", [NodeReplay, CoordinatorReplay])
def test_control_each_answer_that_is_missing_is_noticed(version: int, replay: Any) -> None:
    """The control: the same replay, and the side had not written one of its messages."""
    found, frames = recorded(version, "node" if replay is NodeReplay else "coordinator")
    for place, (way, _) in enumerate(frames):
        if way == "wrote":
            with pytest.raises((ProtocolError, AssertionError, StopIteration)):
                replay(found, frames[:place] + frames[place + 1 :]).run()


@EACH
def test_control_a_changed_message_breaks_a_recorded_session(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a session that says one thing otherwise."""
    told = s.NodeSession.status
    monkeypatch.setattr(s.NodeSession, "status", lambda self, status, head: told(self, status, head)[::-1])
    with pytest.raises(AssertionError, match="answered otherwise"):
        NodeReplay(*recorded(version, "node")).run()
    monkeypatch.setattr(s.CoordinatorSession, "_recollected", lambda self, message: ())
    with pytest.raises((AssertionError, IndexError)):
        CoordinatorReplay(*recorded(version, "coordinator")).run()
