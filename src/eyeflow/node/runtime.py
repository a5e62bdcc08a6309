"""One node, put together: store, engine, installer. It is the `NodeControl` that the link and the socket use."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.models import ModelAccess
from eyeflow.node.clock import Clock
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import Backend
from eyeflow.node.control import AuditHead, HeldProgram, InstallResult, Link, NodeIdentity, Switch
from eyeflow.node.engine.admission import BUS_SOURCE, Policy
from eyeflow.node.engine.answers import refusal_of
from eyeflow.node.engine.arbiter import Arbiter
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.installer import Installer
from eyeflow.node.engine.options import EngineOptions
from eyeflow.node.engine.pending import resume_pending
from eyeflow.node.engine.revocation import Revocation
from eyeflow.node.engine.trials import Trials
from eyeflow.node.engine.trust import Trust
from eyeflow.node.io.board.driver import BoardDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.node.io.ports import Driver, IncomingEvent, PortStatus, Source, Subscription
from eyeflow.node.io.world import World
from eyeflow.node.own_facts import own_facts
from eyeflow.node.replay.history import HistoryReplay
from eyeflow.node.run_key import RunKey
from eyeflow.node.status.evidence import differences_told, evidence_told, explained, failures_told, records_of
from eyeflow.node.status.handing_on import HandingOn
from eyeflow.node.status.report import node_status
from eyeflow.node.store.cursors import KAFKA
from eyeflow.node.store.types import ON_TRIAL, Batch, Draft, Restored, SlotRow, StorageError, Terms
from eyeflow.node.store.writer import Writer
from eyeflow.protocol.audit_bodies import StartBody
from eyeflow.protocol.collecting import BUNDLE_RECORDS_MAX, STATES_BYTES_MAX, KeptHead, SlotState
from eyeflow.protocol.executions import Difference, Explained, Failure
from eyeflow.protocol.identity import KEY_BYTES, Identity
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.messages import Evidence, InstalledRule
from eyeflow.protocol.node_facts import is_granted
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.signer_list import RootTrust, SignerListError
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Value
from eyeflow.svm.scheduler import Scheduler, utc_offset_of

AUDIT_RECORDS_MAX = 10_000
"""Audit records that one call hands out at most."""
SIGNERS_MAX = 64
IN_GRACE = "the key of its signer was revoked: it runs until the grace of this node is over"
SIGNERS_KEY = "cluster_signers"
SIGNER_LIST_KEY = "root_signer_list"

_log = logging.getLogger("eyeflow.node")


class NodeRuntime:
    """A node that runs: implements `NodeControl`. `link` is set by the daemon when there is a coordinator."""

    def __init__(
        self,
        config: NodeConfig,
        writer: Writer,
        identity: Identity,
        world: World,
        clock: Clock,
        machine: Machine | None = None,
    ) -> None:
        self.config, self.clock, self.world, self.machine = config, clock, world, machine or Machine()
        self.link: Link | None = None
        self.services: dict[str, PortStatus] = {}
        """What runs beside sources and drivers, such as the node's own broker."""
        where = (config.data_dir, clock, self.machine, config.timezone)
        access = model_access(config, world.drivers)
        self.boards = Boards(config.name, config.boards, *where, limits=config.offline.limits, access=access)
        self.boards.deliver = self._take_event
        if isinstance(driver := world.drivers.get("board"), BoardDriver):
            driver.set_param = self.boards.set_param
        self.started_steady_us = clock.steady_us()
        self.handing_on = HandingOn()
        self._writer, self._identity = writer, identity
        self._signers: bytes | None = None
        self.roots = RootTrust(config.root_keys)
        options = EngineOptions(
            config.offline.limits,
            config.offline.durability,
            self._subscribe,
            self.machine.random,
            self.machine.in_thread,
        )
        arbiter = Arbiter(clock, round(config.resource_lease_s * 1e6), round(config.resource_wait_s * 1e6))
        times = (Scheduler[RunKey](config.timezone), utc_offset_of(config.timezone))
        core = Core(*times, identity.public_key, world.streams)
        self.engine = Engine(core, writer, world.drivers, arbiter, clock, options)
        policy = Policy(config.grants, frozenset(world.drivers), config.ports)
        self.installer = Installer(self.engine, policy, self._trust(()))
        self.revocation = Revocation(self.installer, clock, config.revoked_grace_s)
        self.trials = Trials(self.installer, clock)
        self.engine.on_counted = self.trials.stir
        facts = own_facts(config.grants, world.drivers, config.ports)
        self.identity = NodeIdentity(config.name, writer.store.epoch, identity.public_key, version("eyeflow"), facts)

    async def start(self) -> None:
        """Bring back what the last run left: programs, state, unfinished actions; record the start."""
        restored = await self._writer.run(lambda store: store.restore())
        self.world.streams.restore(restored.progress)
        if self.config.offline.backend is Backend.SQLITE:
            self._writer.store.cursors.forget(KAFKA)
        self._signers = restored.kept.get(SIGNERS_KEY)
        if kept_list := restored.kept.get(SIGNER_LIST_KEY):
            with contextlib.suppress(SignerListError):  # of a root that the configuration does not name any more
                self.roots.take(kept_list)
        self.installer.trust = self._trust(_split_keys(self._signers or b""))
        self.installer.restore(restored)
        await self._record_start(restored)
        if not await self.trials.look():  # before anything runs: the node may have crashed under one of them
            self.trials.stir()
        resume_pending(self.engine, restored, self.installer.trust, self.installer.table.fatal)

    async def _record_start(self, restored: Restored) -> None:
        """Record the start; while the disk refuses, rules do at a start what `durability` says, as at any time."""
        start = self._start_record(restored)
        counts = self.engine.core.take_evidence(True, start.time_us)
        try:
            await self.engine.commit_change(Batch([start], put_evidence=counts))
        except StorageError:  # told by the disk guard, which tries again
            self.engine.core.note(start.time_us, start.body)
            self.engine.core.put_back_evidence(counts)

    def _start_record(self, restored: Restored) -> Draft:
        store = self._writer.store
        replaced_epoch = store.replaced_epoch if store.head[0] == 0 else 0
        vouched = (self.identity.version, self.identity.public_key, restored.clean)
        programs, candidates = self._programs_in(Slot.ACTIVE), self._programs_in(Slot.CANDIDATE)
        body = StartBody(*vouched, programs, replaced_epoch, candidates)
        return Draft(self.clock.now_us(), body)

    def _programs_in(self, slot: Slot) -> tuple[tuple[str, bytes], ...]:
        running = self.engine.core.rules.items()
        return tuple(sorted((key.rule, rule.loaded.program_id) for key, rule in running if key.slot is slot))

    @property
    def knows_cluster_signers(self) -> bool:
        """Whether the cluster has told its signers since the node joined; it may have told that there are none."""
        return self._signers is not None

    def _subscribe(self, wanted: Mapping[str, set[Subscription]]) -> None:
        for name, source in self.sources.items():
            source.update(wanted.get(name, set()))

    async def _take_event(self, name: str, payload: Mapping[str, object], board: str) -> bool:
        """Take an event that a rule on a board emitted, as one of the node's own; False: no rule listens."""
        if not self.engine.core.intake.listens(name):
            return False
        subscription = Subscription(BUS_SOURCE, name)
        await self.engine.deliver(IncomingEvent(subscription, payload, self.clock.now_us(), can_wait=False, key=board))
        return True

    @property
    def sources(self) -> Mapping[str, Source]:
        """The node's sources by name."""
        return self.world.sources

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` by the node's key."""
        return self._identity.sign(data)

    async def install(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Check, store durably and run a program; see `NodeControl`."""
        if refusal := self._no_new_program():
            if not terms.is_return:
                return refusal_of(refusal)
            return await self.installer.return_refused(program, params, deployment_id, manifest_version, refusal)
        return await self.installer.install(program, params, deployment_id, manifest_version, terms)

    def _no_new_program(self) -> EyeflowError | None:
        """A coordinator could hold back the list that takes a signer out: so a list ends. What runs, runs on."""
        refusal = self.roots.refusal(self.clock.now_us())
        return EyeflowError(refusal, code="signers_expired") if refusal else None

    async def record_wanted(
        self, wanted: InstalledRule, deployment_id: str, manifest_version: int, terms: Terms = ON_TRIAL
    ) -> InstallResult:
        """Keep that this deployment, too, wants what a slot holds; see `NodeControl`."""
        return await self.installer.record_wanted(wanted, deployment_id, manifest_version, terms)

    async def stage(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Run a program beside the active one; see `NodeControl`."""
        if refusal := self._no_new_program():
            return refusal_of(refusal)
        return await self.installer.stage(program, params, deployment_id, manifest_version, terms)

    async def switch(self, switches: Sequence[Switch], manifest_version: int) -> Mapping[str, InstallResult]:
        """Let the candidates of several rules act, all between the same two events; see `NodeControl`."""
        return await self.installer.switch(switches, manifest_version)

    async def drop_candidate(self, rule: str, reason: str = "") -> bool:
        """Stop the candidate; see `NodeControl`."""
        return await self.installer.drop_candidate(rule, reason)

    async def roll_back(self, rule: str, reason: str) -> InstallResult:
        """Run the last known good program again; see `NodeControl`."""
        return await self.installer.roll_back(rule, reason)

    async def record_pass(self, rule: str, program_id: str) -> bool:
        """Keep that the active program passed; see `NodeControl`."""
        return await self.installer.record_pass(rule, program_id)

    async def settle_taken_back(self, is_wanted: Callable[[SlotRow], bool]) -> None:
        """Forget that programs were taken back that nobody wants any more; see `NodeControl`."""
        await self.installer.settle_taken_back(is_wanted)

    async def remove(self, rule: str) -> bool:
        """Stop a rule; see `NodeControl`."""
        return await self.installer.remove(rule)

    def trust(self, signers: Collection[bytes]) -> None:
        """Accept programs of these signers too; see `NodeControl`. Raises EyeflowError for what is no key."""
        keys = sorted(set(signers))
        if len(keys) > SIGNERS_MAX or any(len(key) != KEY_BYTES for key in keys):
            raise EyeflowError(
                "the cluster's signing keys are not valid",
                cause=f"There may be {SIGNERS_MAX} keys of {KEY_BYTES} bytes.",
                next_step="Check the coordinator's trusted keys.",
                code="bad_key",
            )
        if b"".join(keys) != self._signers:
            self._signers = b"".join(keys)
            self.engine.core.keep(SIGNERS_KEY, self._signers)
            self.engine.wake()
        self._trust_allowed(keys)

    def _trust_allowed(self, keys: Collection[bytes]) -> None:
        self.installer.trust = self._trust(keys)
        self.revocation.changed()

    def _trust(self, cluster_keys: Collection[bytes]) -> Trust:
        """Return whom the node trusts when the coordinator names these keys, and how many signers rules need."""
        config = self.config
        keys = frozenset(config.trusted_keys) | self.roots.allowed(cluster_keys)
        return Trust(keys, config.signers_min, self.roots.thresholds(config.name, dict(config.trust_labels)))

    def take_signer_list(self, text: bytes) -> None:
        """Take the list of signers that the coordinator hands on; kept durably. Raises SignerListError."""
        if not self.roots.take(text):
            return
        assert self.roots.newest is not None
        _log.info("the root's list of signers has version %d now", self.roots.newest.version)
        self.engine.core.keep(SIGNER_LIST_KEY, self.roots.newest.text().encode())
        self.engine.wake()
        self._trust_allowed(_split_keys(self._signers or b""))

    async def stop_distrusted(self) -> None:
        """Stop what too few trusted keys have signed, unless its grace lasts; see `NodeControl`."""
        await self.engine.keep_now()
        await self.revocation.stop_due()

    def held(self) -> tuple[HeldProgram, ...]:
        """Return every program that the node keeps to run it; see `NodeControl`."""
        stops = self.revocation.until_us
        return tuple(
            HeldProgram(
                row.key.rule,
                row.key.slot,
                row.program_id.hex(),
                tuple(sorted(row.params.items())),
                row.manifest_version,
                self.installer.refused.get(row.key) or (IN_GRACE if row.key in stops else ""),
            )
            for row in self.installer.table.to_run()
        )

    @property
    def audit_head(self) -> AuditHead:
        """Where the audit chain ends; see `NodeControl`."""
        return AuditHead(*self._writer.store.head)

    def status(self) -> dict[str, object]:
        """Return the node's state as JSON-able data."""
        return node_status(self)

    def board_status(self) -> None:
        """A node is no board; see `NodeControl`."""

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what is known of the programs that run, and of those taken back; see `NodeControl`."""
        return evidence_told(self.engine.core.rules.values(), self.installer.table.taken_back)

    def differences(self) -> tuple[Difference, ...]:
        """Return on which events a candidate decided otherwise; see `NodeControl`."""
        return differences_told(self.engine.core.rules.values())

    def failures(self) -> tuple[Failure, ...]:
        """Return the newest failures of programs on trial; see `NodeControl`."""
        return failures_told(self.engine.core.rules.values(), self.installer.table.set_aside)

    async def explained(self, found: Sequence[Explained]) -> tuple[Explained, ...]:
        """Return these with their events and traces; see `NodeControl`."""
        numbers = {seq for one in found for seq in records_of(one)}
        try:
            executions = await self._writer.run(lambda store: store.executions(numbers))
        except StorageError:  # a disk that fails right now must not cost the node its link
            return tuple(found)
        return tuple(explained(one, executions) for one in found)

    async def replay(self, asked: Replay) -> Replayed:
        """Return where these programs would have decided otherwise; see `NodeControl`."""
        return await HistoryReplay(asked, self._writer, self.installer, self.clock).run()

    def listened(self, asked: Listen) -> Listened:
        """Refuse: these are of boards; see `NodeControl`."""
        return Listened(asked.number, refusal="it is no board")

    @property
    def writer(self) -> Writer:
        """What writes the store."""
        return self._writer

    async def audit_range(self, from_seq: int, limit: int) -> Sequence[bytes]:
        """Return audit records as stored; see `NodeControl`."""
        count = max(0, min(limit, AUDIT_RECORDS_MAX))
        return await self._writer.run(lambda store: store.audit_range(from_seq, count))

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        """Return records to hand on; see `NodeControl`."""
        return await self._writer.run(lambda store: store.records_after(seq, bytes_max, BUNDLE_RECORDS_MAX))

    async def states(self) -> tuple[int, Sequence[SlotState]]:
        """Return how the rules stand; see `NodeControl`."""
        seq, rows = await self._writer.run(lambda store: (store.head[0], store.states()))
        found = (SlotState(one.key.rule, one.key.slot, "", one.program_id.hex(), one.state) for one in rows)
        return seq, [one for one in found if len(one.state) <= STATES_BYTES_MAX]

    async def grows_beyond(self, seq: int) -> None:
        """Return once the audit chain has a record with a higher seq; see `NodeControl`."""
        grown = self.engine.disk.grown
        while self._writer.store.newest_seq <= seq:
            grown.clear()
            await grown.wait()

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds; see `NodeControl`."""
        is_noted = await self._writer.run(lambda store: store.note_kept(destination, kept))
        if is_noted:
            self.handing_on.noted(destination, self.clock.steady_us(), kept.seq, self._writer.store.head[0])
        return is_noted

    def kept_by(self, destination: str) -> KeptHead | None:
        """Return what a destination holds of the chain, None while it has told nothing."""
        return self._writer.store.cursors.kept(destination)

    async def stored_program(self, program_id: bytes) -> bytes | None:
        """Return the stored program with this id (32 bytes), None when the node needs it no more."""
        return await self._writer.run(lambda store: store.program(program_id))

    async def stop(self, reason: str) -> bool:
        """Finish, record the stop; False when the disk did not take the last records."""
        return await self.engine.stop(reason, self.identity.public_key)


def model_access(config: NodeConfig, drivers: Mapping[str, Driver]) -> ModelAccess:
    """Return what the boards of a node may ask of a language model."""
    section = config.ports.sections.get(LlmConfig.SECTION)
    if not isinstance(section, LlmConfig):
        return ModelAccess()
    granted = partial(is_granted, grants=config.grants)
    return ModelAccess(drivers.get("llm"), granted, section.board_calls_per_minute)


def _split_keys(data: bytes) -> list[bytes]:
    return [data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)]
