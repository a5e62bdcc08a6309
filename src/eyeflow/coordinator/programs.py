"""Signed programs, and the keys whose programs the cluster trusts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from eyeflow.base.names import near
from eyeflow.coordinator.intake import Intake, describe
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.room import check_room
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing, trusted_signers
from eyeflow.coordinator.store.facts import Kept, LogEntry, ProgramRecord, SignerKey, TestRun
from eyeflow.protocol.signer_list import SignerList, SignerListError, check_newer, parse_list
from eyeflow.protocol.wire import SIGNERS_MAX
from eyeflow.svm.container import SIGNATURES_MAX, attach_signatures, decode

PROGRAMS_MAX = 100_000
NODE_PROFILE = "linux"
OLD_LIST = "sign the newest one that you have again: eyeflow keys root sign FILE"


class Programs:
    """Changes of programs and signer keys. `signers_changed` lets every node hear of the keys, in the same step."""

    def __init__(self, store: ClusterStore, signers_changed: Callable[[Writing, int], None]) -> None:
        self._store = store
        self._signers_changed = signers_changed

    def trusted(self) -> Awaitable[frozenset[bytes]]:
        """Return the keys whose programs are accepted now."""
        return self._store.read(trusted_signers)

    def trust(self, public_key: bytes, name: str, now_us: int, actor: str) -> Awaitable[SignerKey]:
        """Trust a signer's key (again); every node learns it with its next manifest."""

        def step(writing: Writing) -> SignerKey:
            if len(trusted_signers(writing) | {public_key}) > SIGNERS_MAX:
                raise Problem("limit_reached", f"At most {SIGNERS_MAX} keys can be trusted.", "revoke one first")
            writing.trust_signer(public_key, name, now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "trust_key", public_key.hex(), name))
            self._signers_changed(writing, now_us)
            return next(key for key in writing.signers() if key.public_key == public_key)

        return self._store.write(step)

    def revoke(self, public_key: str, now_us: int, actor: str) -> Awaitable[None]:
        """Refuse the programs of a signer's key from now on. `public_key` is hex; raises Problem 404."""

        def step(writing: Writing) -> None:
            known = {key.public_key.hex(): key.public_key for key in writing.signers()}
            if public_key not in known:
                raise Problem("not_found", "No signer key has this public key.")
            writing.revoke_signer(known[public_key], now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "revoke_key", public_key))
            self._signers_changed(writing, now_us)

        return self._store.write(step)

    def publish(self, new: SignerList, now_us: int, actor: str) -> Awaitable[None]:
        """Hand the root's list of signers on to the nodes, and trust those in it. Raises Problem `old_signer_list`."""

        def step(writing: Writing) -> None:
            kept = writing.signer_list()
            try:
                check_newer(new, None if kept is None else parse_list(kept))
            except SignerListError as error:
                raise Problem("old_signer_list", f"The list is not taken: {error}.", OLD_LIST) from error
            if len(trusted_signers(writing) | set(new.signers)) > SIGNERS_MAX:
                raise Problem("limit_reached", f"At most {SIGNERS_MAX} keys can be trusted.", "revoke one first")
            known = {key.public_key: key.name for key in writing.signers()}
            for key in new.signers:
                writing.trust_signer(key, known.get(key, f"root list, {key.hex()[:8]}"), now_us)
            writing.keep_signer_list(new.text().encode(), now_us)
            keys = ", ".join(key.hex()[:16] for key in new.signers)
            told = f"{keys}; {len(new.thresholds)} thresholds" if new.thresholds else keys
            writing.add_log_entry(LogEntry(now_us, actor, "publish_signers", f"version {new.version}", told))
            self._signers_changed(writing, now_us)

        return self._store.write(step)

    def add(self, intake: Intake, now_us: int, actor: str) -> Awaitable[tuple[ProgramRecord, bool]]:
        """Keep a checked program; returns it and whether it is new. The same program again is fine."""

        def step(writing: Writing) -> tuple[ProgramRecord, bool]:
            check_signers(writing, intake.program.rule, intake.signers)  # again: the proof took seconds
            known = writing.program(intake.program_id)
            if known is not None:
                return _signed_again(writing, known, intake, now_us, actor), False
            check_room(writing, Kept.PROGRAMS, PROGRAMS_MAX)
            made = record_of(intake, now_us, actor)
            writing.add_program(made, intake.data)
            writing.add_log_entry(LogEntry(now_us, actor, "add_program", made.id, f"{made.rule} {made.version}"))
            return made, True

        return self._store.write(step)

    def keep_source(self, program_id: str, source: str, now_us: int, actor: str) -> Awaitable[None]:
        """Keep the text of a program's rule. Raises Problem 404."""

        def step(writing: Writing) -> None:
            found = found_program(writing, program_id)
            if writing.program_source(program_id) != source:
                writing.keep_program_source(program_id, source, now_us)
                writing.add_log_entry(LogEntry(now_us, actor, "keep_source", program_id, found.rule))

        return self._store.write(step)

    def keep_tests(self, program_id: str, run: TestRun) -> Awaitable[None]:
        """Keep how the tests of a program's rule went. Raises Problem 404."""
        failed = sum(not one["passed"] for one in run.tests)
        sums = f"{len(run.tests) - failed} passed, {failed} failed"

        def step(writing: Writing) -> None:
            found = found_program(writing, program_id)
            writing.keep_program_tests(program_id, run)
            writing.add_log_entry(LogEntry(run.told_us, run.told_by, "keep_tests", program_id, f"{found.rule}: {sums}"))

        return self._store.write(step)


def check_signers(reading: Reading, rule: str, signers: Collection[bytes]) -> None:
    """Raise Problem 422 unless one of the keys that signed a program of `rule` is trusted now."""
    if trusted_signers(reading).isdisjoint(signers):
        raise Problem(
            "untrusted_program",
            f"The program of `{rule}` is signed, but its signer's key is not trusted any more.",
            "sign it with a trusted key and upload it again",
        )


def found_program(reading: Reading, program_id: str) -> ProgramRecord:
    """Return one program; raises Problem 404."""
    program = reading.program(program_id)
    if program is None:
        raise Problem("program_not_found", f"No program has the id `{program_id[:64]}`.")
    return program


def by_chip(rule: str, programs: Sequence[ProgramRecord]) -> tuple[tuple[str, str], ...]:
    """Return (chip, program id) of the programs of a rule for boards; raises Problem 422 for two for one chip."""
    found = {str(one.about["chip"]): one.id for one in programs}
    if "" in found or len(found) < len(programs):
        detail = f"The board programs of `{rule}` are not for a chip each."
        raise Problem("invalid_body", detail, "give one program for each chip, compiled with --target or --board")
    return tuple(sorted(found.items()))


def program_to_deploy(reading: Reading, rule: str, program_id: str | None) -> ProgramRecord:
    """Return the program of a rule with this id, None for the last for nodes; raises Problem 404 or 422."""
    found = program_of_rule(reading, rule, program_id)
    check_signers(reading, rule, found.signers)
    return found


def program_of_rule(reading: Reading, rule: str, program_id: str | None) -> ProgramRecord:
    """As `program_to_deploy`, whoever signed it; raises Problem 404."""
    programs = reading.programs_of(rule)
    if not programs:
        guess = near(rule, reading.rules())
        hint = f" Did you mean `{guess}`?" if guess else ""
        detail = f"No program of the rule `{rule[:64]}` was uploaded.{hint}"
        raise Problem("rule_not_found", detail, "POST /api/programs")
    # A deployment by its rule alone brings boards' programs, too: the newest would be one of them by chance.
    nodes_first = sorted(programs, key=lambda one: one.profile != NODE_PROFILE)
    found = next((one for one in nodes_first if program_id in (None, one.id)), None)
    if found is None:
        detail = f"The rule `{rule}` has no program {program_id}."
        raise Problem("program_not_found", detail, "upload it first: POST /api/programs")
    return found


def record_of(intake: Intake, now_us: int, actor: str) -> ProgramRecord:
    """Return what is kept of a checked program."""
    program = intake.program
    return ProgramRecord(
        id=intake.program_id,
        rule=program.rule,
        version=program.version,
        sequence=program.sequence,
        profile=program.profile.name.lower(),
        about=describe(intake),
        uploaded_us=now_us,
        uploaded_by=actor,
        size_bytes=len(intake.data),
    )


def _signed_again(writing: Writing, known: ProgramRecord, intake: Intake, now_us: int, actor: str) -> ProgramRecord:
    """Signatures do not change a program's id: new ones come beside those that still count, as far as there is room."""
    if set(intake.signers) <= set(known.signers):
        return known
    trusted, before = trusted_signers(writing), writing.program_bytes(known.id)
    new, old = decode(intake.data), decode(before).signatures if before else ()
    mine = {key for key, _ in new.signatures}
    room = SIGNATURES_MAX - len(mine)
    also = tuple(one for one in old if one[0] in trusted and one[0] not in mine)[:room]
    signers = tuple(sorted({*intake.signers, *(key for key, _ in also)}))
    intake = replace(intake, data=attach_signatures(new.signed_bytes, (*new.signatures, *also)), signers=signers)
    about = describe(intake)
    writing.resign_program(known.id, about, intake.data, now_us)
    writing.add_log_entry(LogEntry(now_us, actor, "sign_program", known.id, f"{known.rule} {known.version}"))
    return replace(known, about=about, size_bytes=len(intake.data))
