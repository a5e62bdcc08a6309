from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from starlette.applications import Starlette

from eyeflow.base.machine import Machine
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, USUAL_BOUNDS
from eyeflow.coordinator.archive.usual import cosigner, usual_archive
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.serve import ServeOptions, Started, serve
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.tokens import Role
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership, join_cluster
from eyeflow.node.control import AuditHead, HeldProgram, InstallOutcome, InstallResult, NodeIdentity
from eyeflow.protocol.audit import ZERO_HASH, Record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import Body
from eyeflow.protocol.collecting import KeptHead, SlotState
from eyeflow.protocol.executions import Difference, Failure
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.lines import BoardLine, Listen, Listened
from eyeflow.protocol.messages import Evidence, EvidenceStanding, InstalledRule, join_bytes
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.slot import Slot
from eyeflow.svm import program as p
from eyeflow.svm.container import decode, encode
from eyeflow.svm.opcodes import Op
from eyeflow.svm.signing import check_signatures, sign_program
from eyeflow.svm.verify import compute_limits

T = TypeVar("T")
SIGNER = Identity(bytes(range(32)))
STRANGER = Identity(bytes(range(1, 33)))

FLOAT = p.Type(p.TypeTag.FLOAT)


def make_program(
    rule: str = "overheat", version: str = "1.0.0", sequence: int = 1, key: Identity | None = SIGNER
) -> bytes:
    """The smallest program with a parameter, signed by `key`."""
    every = p.Trigger(p.TriggerKind.EVERY, "", "", 500_000, "", (), None, 1, 0, 1)
    program = p.Program(
        rule=rule,
        version=version,
        description="a test",
        priority=p.Priority.NORMAL,
        profile=p.Profile.LINUX,
        chip="",
        sequence=sequence,
        limits=p.Limits(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        regions=p.Regions(params=1),
        slots=(p.MemorySlot(p.ValueType.FLOAT),),
        constants=(),
        arrays=(),
        timers=(),
        code=(p.Instruction(Op.RETURN),),
        sites=(),
        params=(p.Param("limit", FLOAT, 0, 80.0, 20.0, 120.0),),
        pins=(),
        state=(),
        triggers=(every,),
    )
    data = encode(replace(program, limits=compute_limits(program)))
    return sign_program(data, key.private_bytes()) if key is not None else data


@dataclass
class FakeControl:
    """A node without an engine: checks signatures as a node does, remembers what it runs, refuses on demand."""

    name: str
    key: Identity = field(default_factory=Identity.generate)
    trusted: frozenset[bytes] = frozenset({SIGNER.public_key})
    running: dict[str, tuple[str, dict[str, p.Value]]] = field(default_factory=dict)
    refuse: set[str] = field(default_factory=set)
    history: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    deployments: dict[str, str] = field(default_factory=dict)
    differing: tuple[Difference, ...] = ()
    failed: tuple[Failure, ...] = ()
    answers: Callable[[Replay], Awaitable[Replayed]] | None = None
    lines: tuple[BoardLine, ...] | None = None
    """What it logged, as a board; None: it is none."""
    records: list[bytes] = field(default_factory=list)
    """Its audit, from record 1 on; without one it has nothing to hand on."""
    slot_states: tuple[SlotState, ...] = ()
    kept: list[KeptHead] = field(default_factory=list)
    """What the coordinator said that it holds."""

    @property
    def identity(self) -> NodeIdentity:
        return NodeIdentity(self.name, 1, self.key.public_key, "test")

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data)

    async def install(
        self, program: bytes, params: Mapping[str, p.Value], deployment_id: str, manifest_version: int, *_: object
    ) -> InstallResult:
        signed = decode(program)
        check_signatures(signed, self.trusted)
        rule = signed.program.rule
        if manifest_version < self.versions.get(rule, 0):
            return InstallResult(InstallOutcome.REFUSED, rule, code="rollback", message="older than what runs here")
        if rule in self.refuse or signed.program.version in self.refuse:
            return InstallResult(InstallOutcome.REFUSED, rule, code="not_granted", message="lacks gpio.set_pin")
        self.running[rule], self.versions[rule] = (signed.program_id, dict(params)), manifest_version
        self.deployments[rule] = deployment_id
        self.history.append(f"install {rule} {signed.program.version}")
        return InstallResult(InstallOutcome.INSTALLED, rule, signed.program_id)

    async def record_wanted(
        self, wanted: InstalledRule, deployment_id: str, manifest_version: int, *_: object
    ) -> InstallResult:
        rule = wanted.rule
        self.versions[rule], self.deployments[rule] = manifest_version, deployment_id
        return InstallResult(InstallOutcome.UNCHANGED, rule, self.running[rule][0])

    async def remove(self, rule: str) -> bool:
        self.history.append(f"remove {rule}")
        self.versions.pop(rule, None)
        return self.running.pop(rule, None) is not None

    def status(self) -> dict[str, object]:
        rules = [
            {
                "rule": rule,
                "state": "running",
                "program_id": one[0],
                "params": one[1],
                "manifest_version": self.versions[rule],
                "executions": 7,
            }
            for rule, one in self.running.items()
        ]
        return {"rules": rules}

    async def settle_taken_back(self, is_wanted: object) -> None:
        return None

    def board_status(self) -> None:
        return None

    def evidence(self) -> tuple[Evidence, ...]:
        counts = (1_790_000_000_000_000, 1, 7, 6, 1, 0, 0, 0, 0, 0, 2_100, 500)
        return tuple(
            Evidence(rule, Slot.ACTIVE, one[0], self.deployments[rule], *counts, EvidenceStanding.PASSED)
            for rule, one in self.running.items()
        )

    def differences(self) -> tuple[Difference, ...]:
        return self.differing

    def failures(self) -> tuple[Failure, ...]:
        return self.failed

    async def replay(self, asked: Replay) -> Replayed:
        assert self.answers is not None
        return await self.answers(asked)

    def listened(self, asked: Listen) -> Listened:
        if self.lines is None:
            return Listened(asked.number, refusal="it is no board")
        found = tuple(one for one in self.lines if one.number >= (asked.since or 0))
        return Listened(asked.number, found, self.lines[-1].number + 1, 3)

    async def explained(self, found: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(found)

    def held(self) -> tuple[HeldProgram, ...]:
        return tuple(
            HeldProgram(rule, Slot.ACTIVE, one[0], tuple(sorted(one[1].items())), self.versions[rule])
            for rule, one in self.running.items()
        )

    @property
    def audit_head(self) -> AuditHead:
        if self.records:
            return AuditHead(len(self.records), record_hash(self.records[-1]))
        return AuditHead(41, b"\xab" * 32)

    def note(self, *bodies: Body) -> None:
        """Record something."""
        for body in bodies:
            prev = record_hash(self.records[-1]) if self.records else ZERO_HASH
            record = Record(self.name, 1, len(self.records) + 1, prev, 1_790_000_000_000_000, body)
            self.records.append(encode_record(record, self.key))

    def trust(self, signers: Collection[bytes]) -> None:
        self.trusted = frozenset(signers)

    async def stop_distrusted(self) -> None:
        return None

    async def audit_range(self, from_seq: int, limit: int) -> Sequence[bytes]:
        return self.records[from_seq - 1 : from_seq - 1 + limit]

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        return seq + 1, self.records[seq : seq + 100]

    async def states(self) -> tuple[int, Sequence[SlotState]]:
        return len(self.records), self.slot_states

    async def grows_beyond(self, seq: int) -> None:
        while len(self.records) <= seq:
            await asyncio.sleep(0.01)

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        self.kept.append(kept)
        return True


class Cluster:
    """A coordinator on a free loopback port and nodes that dial it, all on one event loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.started: Started | None = None
        self.token = ""
        self.stop = asyncio.Event()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.links: dict[str, CoordinatorLink] = {}

    @property
    def url(self) -> str:
        assert self.started is not None
        return self.started.url

    @contextlib.asynccontextmanager
    async def coordinator(self) -> AsyncIterator[httpx.AsyncClient]:
        ready, self.stop = asyncio.Event(), asyncio.Event()

        def on_started(started: Started) -> None:
            self.started, self.port = started, int(started.url.rsplit(":", 1)[1])
            ready.set()

        options = ServeOptions(self.directory / "coordinator", port=self.port, trusted=(("test", SIGNER.public_key),))
        serving = asyncio.create_task(serve(options, on_started, self.stop))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if serving.done():
            serving.result()
        assert self.started is not None
        self.token = self.started.token_path.read_text().strip()
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as client:
                yield client
        finally:
            self.stop.set()
            await serving

    async def join(self, client: httpx.AsyncClient, control: FakeControl) -> None:
        token = (await client.post("/api/nodes/join-tokens", json={})).json()["token"]
        joined = await asyncio.to_thread(
            join_cluster, self.url, token, control.name, control.sign, control.key.public_key
        )
        Membership(self.directory / control.name).join(joined)

    def dial(self, control: FakeControl) -> CoordinatorLink:
        membership = Membership(self.directory / control.name)
        link = CoordinatorLink(control, membership, backoff=Backoff(first_s=0.02, last_s=0.05), status_s=0.2)
        self.links[control.name] = link
        self.tasks[control.name] = asyncio.create_task(link.run())
        return link

    async def hang_up(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def hang_up_all(self) -> None:
        for name in list(self.tasks):
            await self.hang_up(name)


async def until(ready: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll, as a client would, until `ready`, and rest as long as a look takes; the bound only ends a hopeless wait."""
    time = asyncio.get_running_loop().time
    async with asyncio.timeout(60):
        began_s = time()
        while not await ready():
            await asyncio.sleep(max(0.02, time() - began_s))
            began_s = time()


async def ended(client: httpx.AsyncClient, location: str) -> dict[str, object]:
    found: dict[str, object] = {}

    async def over() -> bool:
        found.update((await client.get(location)).json())
        return bool(found["over"])

    await until(over, location)
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


class Make:
    """What tests make, in one place: conftest modules cannot be imported."""

    program = staticmethod(make_program)
    control = FakeControl
    ended = staticmethod(ended)
    until = staticmethod(until)
    signer = SIGNER
    stranger = STRANGER


@pytest.fixture
def make() -> type[Make]:
    return Make


class Clock:
    """A clock that tests move, or set, and the steady one beside it."""

    def __init__(self) -> None:
        self.now_us = 1_790_000_000_000_000
        self.up_us = 0

    def __call__(self) -> int:
        return self.now_us

    def steady(self) -> int:
        return self.up_us

    def pass_s(self, seconds: int) -> None:
        self.now_us += seconds * 1_000_000
        self.up_us += seconds * 1_000_000

    def set_by_s(self, seconds: int) -> None:
        """Somebody sets the clock: no time passes."""
        self.now_us += seconds * 1_000_000


class SyncClient:
    """Asks the application without sockets; an exception that no handler took reaches the test."""

    def __init__(self, app: Starlette, runner: asyncio.Runner) -> None:
        self._app = app
        self._runner = runner
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self._runner.run(self._http.request(method, path, **request))

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.request("POST", path, **request)

    def open_link(self, headers: Mapping[str, str]) -> int:
        """Open a link and hang up at once: returns 101 when it was accepted, else the status of the refusal."""
        return self._runner.run(self._open_link(headers))

    async def _open_link(self, headers: Mapping[str, str]) -> int:
        statuses: list[int] = []
        incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001, "reason": ""}]

        async def receive() -> dict[str, Any]:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "websocket.accept":
                statuses.append(101)
            elif message["type"] == "websocket.http.response.start":
                statuses.append(message["status"])

        named = [(name.lower().encode(), value.encode()) for name, value in {"Host": "testserver", **headers}.items()]
        scope = {
            "type": "websocket",
            "client": ("127.0.0.1", 123),
            "path": "/api/link",
            "headers": named,
            "query_string": b"",
            "scheme": "ws",
        }
        await self._app({**scope, "subprotocols": [], "extensions": {"websocket.http.response": {}}}, receive, send)
        return statuses[0]

    def close(self) -> None:
        self._runner.run(self._http.aclose())


class Api:
    """The application over a real store, with a moving clock, and tokens of each role."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.store = InlineStore(directory / "api.sqlite")
        self.runner = asyncio.Runner()
        self.archive = usual_archive(directory / ARCHIVE_FILE, Machine(), cosigner(self.store), USUAL_BOUNDS)
        self.hub = self.runner.run(Hub.started(self.store, self.clock, self.clock.steady, archive=self.archive))
        self.pauses: list[float] = []
        self.hub.refusals.sleep = self.pause
        self.tokens = {role.value: self.make_token(role) for role in Role}
        self.trust(SIGNER)
        self.client = SyncClient(make_app(self.hub), self.runner)

    async def pause(self, seconds: float) -> None:
        """In place of the wait before a refusal."""
        self.pauses.append(seconds)

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call something on the event loop of the application, and let follow what follows from it."""

        async def working() -> T:
            done = await call()
            await self.hub.follow()
            return done

        return self.runner.run(working())

    def make_token(self, role: Role) -> str:
        return self.run(lambda: self.hub.tokens.create(role.value, role, self.clock(), "test", 0)).secret

    def trust(self, key: Identity, name: str = "test") -> None:
        self.run(lambda: self.hub.programs.trust(key.public_key, name, self.clock(), "test"))

    def revoke(self, key: Identity) -> None:
        self.run(lambda: self.hub.programs.revoke(key.public_key.hex(), self.clock(), "admin"))

    def do(self, step: Callable[[Writing], T]) -> T:
        """Run one step of the store, from any thread."""
        outcome = self.store.file.commit([step])[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def look(self, look: Callable[[Reading], T]) -> T:
        """Ask the store."""
        return self.store.file.read(look)

    def tick(self) -> None:
        self.run(self.hub.tick)
        self.run(self.hub.look_at_archive)

    def ask(self, method: str, path: str, role: str = "admin", **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} | request.pop("headers", {})
        reply = self.client.request(method, path, headers=headers, **request)
        self.run(self.hub.follow)
        return reply

    def upload(self, program: bytes, role: str = "admin") -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream"}
        return self.ask("POST", "/api/programs", role, content=program, headers=headers)

    def join_body(self, node: str, identity: Identity, token: str | None = None) -> dict[str, str]:
        token = token or self.ask("POST", "/api/nodes/join-tokens", json={}).json()["token"]
        proof = identity.sign(join_bytes(self.store.coordinator_id, node, identity.public_key))
        return {"token": token, "node": node, "publicKey": identity.public_key.hex(), "signature": proof.hex()}

    def join(self, node: str, identity: Identity) -> None:
        reply = self.client.post("/api/nodes/join", json=self.join_body(node, identity))
        assert reply.status_code == 201, reply.text


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path)
    yield made
    made.client.close()
    made.runner.close()
    made.archive.close()
    made.store.close()


@pytest.fixture
def full(api: Any, make: Any) -> Any:
    """A cluster with two nodes, a program and a deployment."""
    api.nodes = {name: Identity(bytes([number]) * 32) for number, name in enumerate(("node-a", "node-b"), start=1)}
    for name, identity in api.nodes.items():
        api.join(name, identity)
    api.program_id = api.upload(make.program()).json()["id"]
    api.deployment = api.ask("POST", "/api/rules/overheat/deploy", json={"all": True}).json()
    return api
