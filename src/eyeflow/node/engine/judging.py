"""Whether a program on trial does worse than it may, as its node sees it: pure functions over its evidence.

The active program is judged against what the last known good one did here. A candidate is judged against the active
program, which runs on the same events at the same time: a broken sensor condemns neither. A candidate that runs alone
is judged by what is allowed, as the coordinator does.
"""

from __future__ import annotations

import json
from typing import Any

from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.evidence.eprocess import TwoProportions
from eyeflow.evidence.outcomes import Counts, Tally
from eyeflow.evidence.state import from_json, to_json
from eyeflow.evidence.verdict import Check, Settings, Verdict, Watch, checks_against, checks_beside, judge
from eyeflow.node.engine.run_evidence import RunEvidence
from eyeflow.node.store.types import EvidenceRow
from eyeflow.protocol.messages import Trial


def judge_active(evidence: RunEvidence | EvidenceRow, before: EvidenceRow | None, trial: Trial, now_us: int) -> Verdict:
    """Return the verdict on an active program; `before` is what the last known good one did, None: there is none."""
    settings, was = _settings(trial), None if before is None else _counts(before).tally()
    checks = checks_against(settings, was, _counts(evidence).tally())
    return judge(_watch(checks, evidence, now_us), settings)


def judge_candidate(evidence: RunEvidence, control: RunEvidence, trial: Trial, deployment: str, now_us: int) -> Verdict:
    """Return the verdict on a candidate beside the active program, and remember in its evidence what it is based on."""
    settings = _settings(trial)
    memory = _Memory.of(evidence.judged, deployment, control, settings.alarm_e)
    tests = memory.after(_counts(control), _counts(evidence))
    evidence.judged = memory.text
    return judge(_watch(checks_beside(settings, tests, memory.before), evidence, now_us), settings)


class _Memory:
    """The tests of a candidate, up to where they have counted both programs, and what the control did before."""

    def __init__(
        self, before: Counts, seen: tuple[Counts, Counts], tests: tuple[TwoProportions, TwoProportions]
    ) -> None:
        self._before, self._seen, self._tests = before, seen, tests

    @classmethod
    def of(cls, text: str, deployment: str, control: RunEvidence, alarm_e: float) -> _Memory:
        """Return what was remembered; the tests begin with the control as it is now when nothing was."""
        try:
            if text:
                found: Any = parse_json(text)
                first, second = (from_json(one) for one in found["tests"])
                before, *seen = (Counts(*counts) for counts in (found["before"], *found["seen"]))
                return cls(before, (seen[0], seen[1]), (first, second))
        except (Unreadable, KeyError, TypeError, ValueError):
            pass  # of another version: it begins anew
        tests = (TwoProportions(f"{deployment} decides", alarm_e), TwoProportions(f"{deployment} acts", alarm_e))
        return cls(_counts(control), (_counts(control), Counts()), tests)

    @property
    def before(self) -> Tally:
        """What the control did before there was a candidate."""
        return self._before.tally()

    def after(self, control: Counts, candidate: Counts) -> tuple[TwoProportions, TwoProportions]:
        """Return the tests after what both programs have done since."""
        more = (_since(control, self._seen[0]).tally(), _since(candidate, self._seen[1]).tally())
        decides, acts = self._tests
        decides = decides.after(more[0].decisions, more[1].decisions)
        acts = acts.after(more[0].actions, more[1].actions)
        self._seen, self._tests = (control, candidate), (decides, acts)
        return self._tests

    @property
    def text(self) -> str:
        """What is to be remembered."""
        before, *seen = ([getattr(one, name) for name in Counts.__match_args__] for one in (self._before, *self._seen))
        tests = [to_json(test) for test in self._tests]
        return json.dumps({"before": before, "seen": seen, "tests": tests}, separators=(",", ":"))


def _since(now: Counts, seen: Counts) -> Counts:
    """Return what came since `seen`. Fewer than then: another deployment wants the program, and it began anew."""
    return now if now.executions < seen.executions else now.since(seen)


def _settings(trial: Trial) -> Settings:
    # A manifest can say 0, which neither the API nor a verdict knows: nothing passes without an execution.
    least = max(1, trial.samples_min)
    return Settings(trial.observe_s, least, trial.failures_max, trial.starts_max, trial.judges)


def _watch(checks: tuple[Check, ...], evidence: RunEvidence | EvidenceRow, now_us: int) -> Watch:
    # Without what is pending: only a pass waits for that, and no node tells one.
    return Watch(checks, max(0, now_us - evidence.began_us) / 1e6, evidence.boots)


def _counts(evidence: RunEvidence | EvidenceRow) -> Counts:
    return Counts(
        executions=evidence.executions,
        traps=evidence.traps,
        failed_actions=evidence.failed_actions,
        missed_deadlines=evidence.missed_deadlines,
        rejected=evidence.rejected,
        acted=evidence.acted,
    )
