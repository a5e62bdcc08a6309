"""From what nodes count to a verdict on a deployment: sums of the evidence, the tests that they feed, and the verdict.

Nodes tell totals. The tests take what came since the last look, so what was looked at is kept with the deployment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eyeflow.base.record import dataclass
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.facts import EvidenceSums
from eyeflow.evidence.eprocess import Test, TwoProportions, against
from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.state import from_json, to_json
from eyeflow.evidence.verdict import Check, Settings, Verdict, Watch, judge
from eyeflow.rollout.deployment import LOOK_S, Deployment, DeploymentState

UNHEARD_S = 30
"""A node that is watched and tells nothing for this long is not heard of: its silence is no good news."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the looks so far saw: the totals, and the test of `phase`."""

    phase: int = -1
    candidate: Outcomes = Outcomes()
    control: Outcomes = Outcomes()
    test: Test | None = None


def remember(writing: Writing, deployment: Deployment) -> Deployment:
    """Keep how the programs did that a new deployment replaces: after the change nobody runs them any more."""
    if not deployment.options.observe_s:
        return deployment
    sums = writing.evidence_sums(deployment, 0)
    return writing.save_deployment(replace(deployment, judgement=_dump(Seen(control=Outcomes(*sums.control)))))


def looks_at(deployment: Deployment, now_us: int) -> bool:
    """Say whether the evidence of a deployment is to be looked at now."""
    return deployment.state is DeploymentState.OBSERVING and now_us >= deployment.judged_us + LOOK_S * 1_000_000


def judged(writing: Writing, deployment: Deployment, now_us: int) -> tuple[Deployment, Verdict]:
    """Look at the evidence of a deployment that watches its nodes. Returns it as it is stored then, and the verdict."""
    sums = evidence_now(writing, deployment, now_us)
    seen = _after(_load(deployment.judgement), deployment, sums)
    looked = replace(deployment, judgement=_dump(seen), judged_us=now_us)
    return writing.save_deployment(looked), _verdict(seen, deployment, sums, now_us)


def shown(reading: Reading, deployment: Deployment, now_us: int) -> Verdict | None:
    """Return the verdict as of the last look, for people; None while nothing was looked at."""
    seen = _load(deployment.judgement)
    if seen.test is None or deployment.state is not DeploymentState.OBSERVING:
        return None
    return _verdict(seen, deployment, evidence_now(reading, deployment, now_us), now_us)


def evidence_now(reading: Reading, deployment: Deployment, now_us: int) -> EvidenceSums:
    """Return the sums of a deployment's evidence."""
    return reading.evidence_sums(deployment, now_us - UNHEARD_S * 1_000_000)


def settings_of(deployment: Deployment) -> Settings:
    """Return what the candidates of a deployment must show."""
    options = deployment.options
    return Settings(options.observe_s, options.samples_min, options.failures_max, options.starts_max)


def _after(seen: Seen, deployment: Deployment, sums: EvidenceSums) -> Seen:
    candidate, control = Outcomes(*sums.candidate), Outcomes(*sums.control)
    test, before = seen.test, seen.control
    if test is None or seen.phase != deployment.phase:
        before = control  # what it did earlier did not happen at the same time
        test = _begun(deployment, seen.control, control)
    new = _since(candidate, seen.candidate)
    test = test.after(_since(control, before), new) if isinstance(test, TwoProportions) else test.after(new)
    known = control if control.executions else seen.control  # once all have changed, what was seen of it before counts
    return Seen(deployment.phase, candidate, known, test)


def _begun(deployment: Deployment, history: Outcomes, control: Outcomes) -> Test:
    """A control that runs at the same time tells more than what was; where there is none, that has to do."""
    if control.executions:
        return TwoProportions(f"{deployment.id}:{deployment.phase}")
    settings = settings_of(deployment)
    return against(settings.tolerance, history, samples_min=settings.samples_min)


def _since(now: Outcomes, then: Outcomes) -> Outcomes:
    """Totals fall when a node goes, or when its program is no control any more: then nothing is known of this span."""
    if now.executions < then.executions or now.failures < then.failures:
        return Outcomes()
    return Outcomes(now.executions - then.executions, now.failures - then.failures)


def _verdict(seen: Seen, deployment: Deployment, sums: EvidenceSums, now_us: int) -> Verdict:
    assert seen.test is not None, "a look makes the test"
    observed_s = max(0.0, (now_us - deployment.phase_since_us) / 1e6)
    silent = sums.unheard if observed_s > UNHEARD_S else ()
    return judge(Watch((Check(seen.test),), observed_s, sums.starts_max, silent), settings_of(deployment))


def _dump(seen: Seen) -> Any:
    totals = [[one.executions, one.failures] for one in (seen.candidate, seen.control)]
    return [seen.phase, *totals, None if seen.test is None else to_json(seen.test)]


def _load(value: Any) -> Seen:
    if value is None:
        return Seen()
    phase, candidate, control, test = value
    return Seen(phase, Outcomes(*candidate), Outcomes(*control), None if test is None else from_json(test))
