"""Whether a program may run on this node: its bytes, signatures and proof, the grants, the drivers, its sources."""

from __future__ import annotations

from dataclasses import dataclass

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.engine.trust import Trust
from eyeflow.node.io.connector import PortsConfig
from eyeflow.node.io.ports import Subscription
from eyeflow.node.io.world import check_subscription
from eyeflow.protocol.node_facts import is_granted, namespace_of
from eyeflow.svm.container import SignedProgram, decode
from eyeflow.svm.execution import Machine
from eyeflow.svm.instance import default_machine
from eyeflow.svm.program import Profile, Program, Site, SiteKind, Trigger, TriggerKind
from eyeflow.svm.source_map import site_lines
from eyeflow.svm.verify import Verified, verify

BUS_SOURCE = "event"
"""The source of events that rules emit; the engine itself serves it."""


class Refused(EyeflowError):  # noqa: N818 - an answer, not a fault
    """A program that this node does not run; `missing` names capabilities that are not granted or not served."""

    def __init__(self, message: str, cause: str, next_step: str, code: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message, cause=cause, next_step=next_step, code=code, exit_code=ExitCode.PROBLEMS)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program that passed every check and is ready to be instantiated; `program_id` is 32 bytes.

    `signers` are all keys (32 bytes) whose valid signatures it carries, trusted or not. `lines` are those of its sites.
    """

    data: bytes
    program_id: bytes
    verified: Verified
    machine: Machine
    signers: tuple[bytes, ...]
    lines: tuple[int, ...]

    def at_line(self, site: Site) -> str:
        """Return ` at line N` for one of the program's sites."""
        return f" at line {self.lines[self.program.sites.index(site)]}"

    @property
    def program(self) -> Program:
        """The decoded program."""
        return self.verified.program


@dataclass(frozen=True, slots=True)
class Policy:
    """What this node runs: grants (globs), the namespaces it has drivers for, and its ports."""

    grants: tuple[str, ...]
    namespaces: frozenset[str]
    ports: PortsConfig

    def load(self, data: bytes, trust: Trust) -> Loaded:
        """Return the program in `data`, checked in every way. Raises EyeflowError that says why it is refused."""
        signed = decode(data)
        # Before the proof, which costs most: a program of a stranger must not make the node pay for it.
        trust.check(signed)
        return self._prove(data, signed)

    def _prove(self, data: bytes, signed: SignedProgram) -> Loaded:
        if signed.program.profile is not Profile.LINUX:
            raise Refused(
                f"`{signed.program.rule}` is compiled for a microcontroller",
                "A node runs programs of the profile linux.",
                "Compile it without --target and --profile mcu.",
                "wrong_profile",
            )
        verified = verify(signed.program)
        self._check_capabilities(signed.program)
        for trigger in signed.program.triggers:
            if (subscription := subscription_of(trigger)) and subscription.source != BUS_SOURCE:
                check_subscription(subscription, self.ports)
        signers = tuple(key for key, _ in signed.signatures)
        program_id, lines = bytes.fromhex(signed.program_id), site_lines(signed.program)
        return Loaded(data, program_id, verified, default_machine(verified), signers, lines)

    def _check_capabilities(self, program: Program) -> None:
        used = sorted({site.capability for site in program.sites if site.kind is not SiteKind.EMIT})
        ungranted = tuple(name for name in used if not self.is_granted(name))
        if ungranted:
            raise Refused(
                f"`{program.rule}` needs capabilities that this node does not grant: {', '.join(ungranted)}",
                f"[grants] allow is {list(self.grants)}.",
                f"Add {', '.join(ungranted)} to [grants] allow if the rule may do that here.",
                "not_granted",
                ungranted,
            )
        unserved = tuple(name for name in used if namespace_of(name) not in self.namespaces)
        if unserved:
            hints = {self.ports.hint(namespace_of(name)) or "Use another capability." for name in unserved}
            raise Refused(
                f"`{program.rule}` needs capabilities that this node has no driver for: {', '.join(unserved)}",
                f"This node serves: {', '.join(sorted(self.namespaces))}.",
                " ".join(sorted(hints)),
                "no_driver",
                unserved,
            )

    def is_granted(self, capability: str) -> bool:
        """Return whether the configuration grants a capability."""
        return is_granted(capability, self.grants)


def subscription_of(trigger: Trigger) -> Subscription | None:
    """Return what a trigger asks of a source, None for a timer."""
    if trigger.kind is not TriggerKind.SOURCE:
        return None
    return Subscription(trigger.source, trigger.address, trigger.period_us)
