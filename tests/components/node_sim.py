"""A whole node on a virtual clock: real compiler, SVM, store and engine; only time and the drivers are simulated."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.compiler.compile import compile_rule
from eyeflow.node.config.config import NodeConfig, OfflineConfig
from eyeflow.node.control import InstallResult, Switch
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.ports import IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import World
from eyeflow.node.run_key import RunKey, candidate
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import ON_TRIAL, Terms, Wish
from eyeflow.node.store.writer import InlineWriter
from eyeflow.protocol.audit import Record, decode_record
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import InstalledRule
from eyeflow.svm.container import encode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value
from eyeflow.svm.signing import public_key_of, sign_program

T = TypeVar("T")
SIGNER = bytes(range(32))
NODE_KEY = Identity(bytes(range(1, 33)))
START_US = 1_700_000_000_000_000
SETTLE_STEPS = 30


class SimClock:
    """Time that only `NodeSim.advance` moves; `set_us` is by how much somebody set the wall clock."""

    def __init__(self, now_us: int = START_US) -> None:
        self.time_us, self.set_us = now_us, 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_us(self) -> int:
        return self.time_us + self.set_us

    def steady_us(self) -> int:
        return self.time_us

    async def sleep(self, duration_s: float) -> None:
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.time_us + max(0, round(duration_s * 1e6)), self._count, future))
        await future

    def next_us(self) -> int | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def move(self, time_us: int) -> None:
        self.time_us = time_us
        while (due := self.next_us()) is not None and due <= time_us:
            heapq.heappop(self._sleepers)[2].set_result(None)


class SimDriver:
    """Answers reads from `values`, records actions with their time, and fails as `failures` says."""

    def __init__(self, name: str, clock: SimClock) -> None:
        self.status = PortStatus(name, "up")
        self.clock = clock
        self.values: dict[str, Value | Callable[[Mapping[str, Value]], Value]] = {}
        self.acted: list[tuple[int, str, dict[str, Value]]] = []
        self.begun: list[dict[str, Value]] = []
        self.attempts: list[tuple[int, str]] = []
        self.failures: dict[str, int] = {}
        self.duration_s: dict[str, float] = {}
        self.before: Callable[[], None] = lambda: None
        self.is_ready, self.pipelines = True, False
        self.slow_reads: tuple[str, ...] = ()
        self._ready_changed = asyncio.Event()

    def set_ready(self, ready: bool) -> None:
        self.is_ready = ready
        self._ready_changed.set()

    async def until_ready(self) -> None:
        while not self.is_ready:
            self._ready_changed.clear()
            await self._ready_changed.wait()

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None] | None:
        return asyncio.ensure_future(self.act(capability, args)) if self.pipelines else None

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        self.attempts.append((self.clock.time_us, capability))
        if self._fails(capability) or capability not in self.values:
            raise CapabilityFailure(f"{capability} failed in the simulation")
        value = self.values[capability]
        return value(args) if callable(value) else value

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        self.before()
        self.begun.append(dict(args))
        self.attempts.append((self.clock.time_us, capability))
        if not self.is_ready:
            raise CapabilityFailure(f"{capability}: not connected in the simulation")
        if capability in self.duration_s:
            await self.clock.sleep(self.duration_s[capability])
        if self._fails(capability):
            raise CapabilityFailure(f"{capability} failed in the simulation")
        self.acted.append((self.clock.time_us, capability, dict(args)))

    def _fails(self, capability: str) -> bool:
        left = self.failures.get(capability, 0)
        self.failures[capability] = max(0, left - 1)
        return left > 0

    async def close(self) -> None:
        return None


class NodeSim:
    """One node; `turns` runs it until nothing is left to do now, `advance` moves time from event to event."""

    def __init__(
        self,
        path: Path,
        *,
        grants: Sequence[str] = ("*",),
        offline: OfflineConfig | None = None,
        zone: str = "UTC",
        vfs: str | None = None,
        free_bytes: FreeBytes = free_bytes_of,
        clock: SimClock | None = None,
        drivers: Sequence[str] = ("gpio", "log", "adc", "mqtt", "llm", "host", "http"),
        root_keys: Sequence[bytes] = (),
        signers_min: int = 1,
        labels: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.clock = clock or SimClock()
        self.config = NodeConfig(
            "sim",
            path,
            ZoneInfo(zone),
            offline=offline or OfflineConfig(),
            grants=tuple(grants),
            trusted_keys=(public_key_of(SIGNER),),
            root_keys=tuple(root_keys),
            signers_min=signers_min,
            trust_labels=tuple(labels),
            ports=ports_config(MqttConfig("simulated")),
        )
        limits = self.config.offline.limits
        self.store = Store(path, "sim", NODE_KEY, limits, now_us=self.clock.now_us, vfs=vfs, free_bytes=free_bytes)
        self.drivers = {name: SimDriver(name, self.clock) for name in drivers}
        self.node = NodeRuntime(
            self.config, InlineWriter(self.store), NODE_KEY, World({}, dict(self.drivers)), self.clock
        )
        self.done = 0
        self.store_bytes: list[bytes] = []

    @classmethod
    async def started(cls, path: Path, *sources: str, **options: object) -> NodeSim:
        """Start a node and install rules."""
        sim = cls(path, **options)  # type: ignore[arg-type]
        await sim.node.start()
        for source in sources:
            result = await sim.install(source)
            assert result.code == "", result
        return sim

    async def install(self, source: str, version: int = 1, **params: Value) -> InstallResult:
        return await self.node.install(program(source), params, f"d{version}", version)

    async def stage(self, source: str, version: int = 1, terms: Terms = ON_TRIAL) -> InstallResult:
        return await self.node.stage(program(source), {}, f"d{version}", version, terms)

    async def swap(self, rule: str, version: int, acts: Wish, beside: Wish) -> InstallResult:
        """Let candidate and active program of a rule change places."""
        return (await self.node.switch([Switch(rule, acts, beside)], version))[rule]

    async def promote(self, rule: str, terms: Terms | None = None) -> InstallResult:
        """Let the candidate of a rule act in place of the active program; `terms` None: as it was staged."""
        row = self.node.installer.table.row(candidate(rule))
        if row is None:
            return (await self.node.switch([Switch(rule, Wish("none"))], 0))[rule]
        wish = Wish(row.deployment, terms or Terms(row.standing, row.trial))
        return (await self.node.switch([Switch(rule, wish)], row.manifest_version))[rule]

    async def want_again(self, key: RunKey, deployment: str, version: int, terms: Terms = ON_TRIAL) -> InstallResult:
        """Let a deployment want what a slot holds."""
        row = self.node.installer.table.row(key)
        what = ("", ()) if row is None else (row.program_id.hex(), tuple(sorted(row.params.items())))
        wanted = InstalledRule(key.rule, *what, key.slot)
        return await self.node.record_wanted(wanted, deployment, version, terms)

    async def turns(self) -> None:
        """Run turns until there is nothing to do without time passing."""
        idle = 0
        while idle < 2:
            await self.node.engine.turn()
            for _ in range(SETTLE_STEPS):
                await asyncio.sleep(0)
            idle = 0 if self.node.engine._has_work() else idle + 1

    async def advance(self, duration_us: int) -> None:
        """Let time pass, stopping wherever something is due."""
        end_us = self.clock.time_us + duration_us
        await self.turns()
        while True:
            timer_us, sleeper_us = self.node.engine.core.next_due_us(), self.clock.next_us()
            due = [timer_us - self.clock.set_us] if timer_us is not None else []
            due += [sleeper_us] if sleeper_us is not None else []
            if not due or min(due) > end_us:
                break
            self.clock.move(max(min(due), self.clock.time_us))
            await self.turns()
        self.clock.move(end_us)
        await self.turns()

    async def send(self, name: str, **payload: object) -> None:
        await self.node.engine.deliver(self.event(name, payload))

    def event(self, name: str, payload: Mapping[str, object], key: str | None = None) -> IncomingEvent:
        return IncomingEvent(Subscription("mqtt", name), payload, self.clock.now_us(), self._done, key=key)

    def _done(self) -> None:
        self.done += 1

    def records(self) -> list[Record]:
        return [decode_record(data) for data in self.store.audit_range(1, 10**6)]

    def bodies(self, kind: type[T]) -> list[T]:
        """Return the audit bodies of one kind, in order."""
        return [record.body for record in self.records() if isinstance(record.body, kind)]

    def rule(self, name: str, slot: str = "active") -> dict[str, object]:
        rules = self.node.status()["rules"]
        assert isinstance(rules, list)
        return next(rule for rule in rules if (rule["rule"], rule["slot"]) == (name, slot))

    async def stop(self) -> None:
        stopping = asyncio.ensure_future(self.node.stop("test"))
        while not stopping.done():
            for _ in range(SETTLE_STEPS):
                await asyncio.sleep(0)
            if not stopping.done():
                self.clock.move(self.clock.next_us() or self.clock.time_us + 1)
        assert await stopping
        self.store_bytes = self.store.audit_range(1, 10**6)
        self.store.close(clean=True)

    def crash(self) -> None:
        """End without a word; what the store committed stays."""
        self.store.close(clean=False)


def program(source: str, key: bytes | None = SIGNER) -> bytes:
    """Compile and sign a rule."""
    result = compile_rule(source, name="test.eye")
    assert result.program is not None, result.diagnostics
    data = encode(result.program)
    return sign_program(data, key) if key else data
