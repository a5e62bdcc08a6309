"""Makes a node run what a manifest says, one entry after the other, and says what became of each."""

from __future__ import annotations

from collections.abc import Mapping

from eyeflow.node.cluster.health import (
    candidates_of,
    foreign_of,
    installed_of,
    refusal_of,
    stop_of,
    switched,
    terms_of,
    unwanted_of,
)
from eyeflow.node.control import DISTRUSTED, InstallOutcome, InstallResult, NodeControl
from eyeflow.protocol.messages import InstalledRule, ManifestEntry, RuleResult, RuleState, WantedManifest
from eyeflow.protocol.outputs import Apply
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import REASON_CHARS_MAX, cut
from eyeflow.svm.container import decode
from eyeflow.svm.failure import ProgramError


class Applying:
    """Changes the node through `control`."""

    def __init__(self, control: NodeControl) -> None:
        self._control = control

    async def apply(self, output: Apply) -> tuple[RuleResult, ...]:
        """Make the node run what the manifest says."""
        manifest = output.manifest
        held = self._control.held()
        unwanted = unwanted_of(held, manifest.entries)
        results = [await self._remove(rule) for rule in sorted(unwanted)]
        for rule in sorted(foreign_of(held, manifest.version) - unwanted):
            await self._control.remove(rule)
        refused = await self._switch(manifest)
        running = installed_of(self._control.held(), manifest.version)
        results += [await self._install(entry, output, running, refused) for entry in manifest.entries]
        results += [await self._drop(rule) for rule in candidates_of(self._control.held(), manifest.entries)]
        wanted = {(one.rule, one.program_id, one.deployment_id) for one in manifest.entries}
        await self._control.settle_taken_back(
            lambda row: any((row.key.rule, row.program_id.hex(), by) in wanted for by in row.deployments)
        )
        return tuple(results)

    async def _switch(self, manifest: WantedManifest) -> dict[str, str]:
        """Let all candidates act that are wanted as active programs, at one moment; return why not, by rule.

        One after the other, an event could be decided by the new program of one rule and the old one of the next.
        """
        running = installed_of(self._control.held(), manifest.version)
        switches = switched(manifest.entries, running)
        results = await self._control.switch(switches, manifest.version) if switches else {}
        return {rule: refusal for rule, result in results.items() if (refusal := _refusal(result))}

    async def _remove(self, rule: str) -> RuleResult:
        await self._control.remove(rule)
        return RuleResult(rule, "", RuleState.REMOVED)

    async def _drop(self, rule: str) -> RuleResult:
        await self._control.drop_candidate(rule)
        return RuleResult(rule, "", RuleState.REMOVED, "", Slot.CANDIDATE)

    async def _install(
        self, entry: ManifestEntry, output: Apply, running: frozenset[InstalledRule], refused: Mapping[str, str]
    ) -> RuleResult:
        result = refused.get(entry.rule) or await self._carry_out(entry, output, running)
        state = RuleState.REFUSED if result else RuleState.INSTALLED
        return RuleResult(entry.rule, entry.program_id, state, cut(result, REASON_CHARS_MAX), entry.slot)

    async def _carry_out(self, entry: ManifestEntry, output: Apply, running: frozenset[InstalledRule]) -> str:
        """Make an entry of the manifest so; return why not, empty when it is."""
        what, by = (entry.rule, entry.program_id, entry.params), (entry.deployment_id, output.manifest.version)
        terms = terms_of(entry)
        if (wanted := InstalledRule(*what, entry.slot)) in running:
            return _refusal(await self._control.record_wanted(wanted, *by, terms))
        program = output.programs.get(entry.program_id)
        if program is None and entry.program_id not in output.missing:
            # It ran when this manifest came, so it was not fetched; then its signer's key turned out to be revoked.
            return refusal_of(self._control.held(), entry.rule, entry.slot)
        if program is None:
            return "the coordinator lost the program"
        if not _is_named(program, entry.program_id):
            return "another program came than was wanted"
        how = (dict(entry.params), *by)
        put = self._control.stage if entry.slot is Slot.CANDIDATE else self._control.install
        result = await put(program, *how, terms)
        # What it had run for, and until when, says more than that it is not trusted.
        stopped = stop_of(self._control.held(), entry) if result.code in DISTRUSTED else ""
        return stopped or _refusal(result)


def _refusal(result: InstallResult) -> str:
    return f"{result.code}: {result.message}" if result.outcome is InstallOutcome.REFUSED else ""


def _is_named(program: bytes, program_id: str) -> bool:
    """Say whether these bytes are the program of this id.

    Its signer vouches for a program and the manifest for the id: only both together keep an older program of a trusted
    signer from taking the place of the wanted one on its way.
    """
    try:
        return decode(program).program_id == program_id
    except ProgramError:
        return False
