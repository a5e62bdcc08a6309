"""From what nodes count to a verdict on a deployment: sums of the evidence, the tests that they feed, and the verdict.

Nodes tell totals. The tests take what came since the last look, so what was looked at is kept with the deployment.

A candidate that runs beside the active program is compared with it: both see the same events. A program that took the
place of another is judged against what that one did on the same nodes. Other nodes are no control: their sensors and
actuators are others. Each step judges the nodes whose turn came in it. Else the ones that passed would hide a new one
that fails, or that runs nothing.

Boards run programs of their own builds on sensors of their own. So nodes and boards are judged apart, each against what
runs beside them or ran there before, and the worse verdict counts (docs/decisions/0025).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eyeflow.base.record import dataclass
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.facts import EvidenceSums
from eyeflow.evidence.eprocess import TwoProportions
from eyeflow.evidence.outcomes import Counts, Outcomes, Tally
from eyeflow.evidence.state import from_json, to_json
from eyeflow.evidence.verdict import Kind, Settings, Verdict, Watch, checks_against, checks_beside, judge
from eyeflow.protocol.messages import Evidence
from eyeflow.rollout.deployment import LOOK_S, Deployment, DeploymentState
from eyeflow.rollout.strategies import WITH_CANDIDATES, steps_of

UNHEARD_S = 30
"""A node that is watched and tells nothing for this long is not heard of: its silence is no good news."""
_WORST_LAST = (Kind.PASS, Kind.INCONCLUSIVE, Kind.NO_DATA, Kind.FAIL)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the looks so far saw: the totals, what the candidate did in `phase`, and the tests of that phase.

    `board_candidate` and `board_new` are those of boards, the others those of nodes. `tests` compare decisions and
    actions with a control; None: nothing runs beside the candidate.
    """

    phase: int = -1
    candidate: Tally = Tally()
    control: Tally = Tally()
    new: Tally = Tally()
    board_candidate: Tally = Tally()
    board_new: Tally = Tally()
    tests: tuple[TwoProportions, TwoProportions] | None = None


def tally_of(one: Evidence) -> Tally:
    """Return what a node tells of a program, as outcomes."""
    failures = (one.traps, one.failed_actions, one.missed_deadlines)
    return Counts(one.executions, *failures, one.rejected, one.acted).tally()


def looks_at(deployment: Deployment, now_us: int) -> bool:
    """Say whether the evidence of a deployment is to be looked at now."""
    return deployment.state is DeploymentState.OBSERVING and now_us >= deployment.judged_us + LOOK_S * 1_000_000


def judged(writing: Writing, deployment: Deployment, now_us: int) -> tuple[Deployment, Verdict]:
    """Look at the evidence of a deployment that watches its nodes. Returns it as it is stored then, and the verdict."""
    sums = evidence_now(writing, deployment, now_us)
    settings = _settings(writing, deployment, sums)
    seen = _after(_load(deployment.judgement), deployment, sums, settings)
    looked = replace(deployment, judgement=_dump(seen), judged_us=now_us)
    return writing.save_deployment(looked), _verdict(seen, deployment, sums, settings, now_us)


def shown(reading: Reading, deployment: Deployment, now_us: int) -> Verdict | None:
    """Return the verdict as of the last look, for people; None while nothing was looked at."""
    seen = _load(deployment.judgement)
    if seen.phase != deployment.phase or deployment.state is not DeploymentState.OBSERVING:
        return None
    sums = evidence_now(reading, deployment, now_us)
    return _verdict(seen, deployment, sums, _settings(reading, deployment, sums), now_us)


def while_judged(deployment: Deployment) -> tuple[Tally, Tally]:
    """Return what its candidates did on nodes, and on boards, in the step judged last; nothing where none was."""
    seen = _load(deployment.judgement)
    return seen.new, seen.board_new


def evidence_now(reading: Reading, deployment: Deployment, now_us: int) -> EvidenceSums:
    """Return the sums of the evidence of a deployment's present step."""
    return reading.evidence_sums(deployment, now_us - UNHEARD_S * 1_000_000)


def settings_of(deployment: Deployment, nodes: int) -> Settings:
    """Return what the candidates of a deployment to so many nodes must show in each of its steps."""
    options, judges = deployment.options, steps_of(deployment, nodes)
    return Settings(options.observe_s, options.samples_min, options.failures_max, options.starts_max, judges)


def _settings(reading: Reading, deployment: Deployment, sums: EvidenceSums) -> Settings:
    """Two that are judged apart are two chances of a false alarm."""
    settings = settings_of(deployment, sum(reading.counts(deployment.id).values()))
    return replace(settings, judges=settings.judges * (2 if _is_mixed(sums) else 1))


def _is_mixed(sums: EvidenceSums) -> bool:
    return sums.candidate is not None and sums.board_candidate is not None


def _after(seen: Seen, deployment: Deployment, sums: EvidenceSums, settings: Settings) -> Seen:
    if seen.phase != deployment.phase:
        seen = _begun(seen, deployment)
    if sums.control is None and _compares_too_little(seen, settings):
        # A node told once more of the program that was replaced, before it told that it is gone.
        seen = replace(seen, tests=None)
    if sums.control is not None and seen.tests is None and deployment.strategy in WITH_CANDIDATES:
        # Not at the first look perhaps: another coordinator may write later what its nodes told.
        seen = _compared(seen, deployment, sums.control, settings.alarm_e)
    control = sums.control or seen.control  # nodes that went back run nothing beside it any more
    candidate, boards = sums.candidate or seen.candidate, sums.board_candidate or seen.board_candidate
    new, beside, tests = candidate.since(seen.candidate), control.since(seen.control), seen.tests
    if tests is not None:
        decides, acts = tests
        tests = (decides.after(beside.decisions, new.decisions), acts.after(beside.actions, new.actions))
    board_new = seen.board_new + boards.since(seen.board_candidate)
    return Seen(deployment.phase, candidate, control, seen.new + new, boards, board_new, tests)


def _compares_too_little(seen: Seen, settings: Settings) -> bool:
    return seen.tests is not None and seen.tests[0].seen_control.executions < settings.samples_min


def _begun(seen: Seen, deployment: Deployment) -> Seen:
    """A new step. Candidates go on counting from step to step; elsewhere each step has nodes of its own."""
    if deployment.strategy not in WITH_CANDIDATES:
        return Seen(deployment.phase)
    return Seen(deployment.phase, seen.candidate, board_candidate=seen.board_candidate)


def _compared(seen: Seen, deployment: Deployment, control: Tally, alarm_e: float) -> Seen:
    """From now on the candidate is compared with what runs beside it."""
    name = f"{deployment.id}:{deployment.phase}"
    tests = (TwoProportions(f"{name} decides", alarm_e), TwoProportions(f"{name} acts", alarm_e))
    # What the control did earlier did not happen at the same time.
    return replace(seen, control=control, tests=tests)


def _verdict(seen: Seen, deployment: Deployment, sums: EvidenceSums, settings: Settings, now_us: int) -> Verdict:
    observed_s = max(0.0, (now_us - deployment.phase_since_us) / 1e6)
    silent = sums.unheard if observed_s > UNHEARD_S else ()
    if seen.tests is None:
        checks = checks_against(settings, sums.before, seen.new)
    else:
        checks = checks_beside(settings, seen.tests, sums.before)
    of_boards = checks_against(settings, sums.board_before, seen.board_new)
    seen_since = (observed_s, sums.starts_max, silent)
    nodes = judge(Watch(checks, *seen_since, sums.pending), settings)
    boards = judge(Watch(of_boards, *seen_since), settings)
    if not _is_mixed(sums):
        return nodes if sums.board_candidate is None else boards
    nodes, boards = replace(nodes, reason=f"nodes: {nodes.reason}"), replace(boards, reason=f"boards: {boards.reason}")
    return max(nodes, boards, key=lambda one: _WORST_LAST.index(one.kind))


def _dump(seen: Seen) -> Any:
    tallies = (seen.candidate, seen.control, seen.new, seen.board_candidate, seen.board_new)
    totals = [_numbers(one) for one in tallies]
    return [seen.phase, *totals, None if seen.tests is None else [to_json(test) for test in seen.tests]]


def _numbers(tally: Tally) -> list[int]:
    parts = (tally.decisions, tally.actions)
    return [number for one in parts for number in (one.executions, one.failures)]


def _load(value: Any) -> Seen:
    if value is None:
        return Seen()
    phase, *totals, texts = value
    candidate, control, new, *of_boards = (Tally(Outcomes(*one[:2]), Outcomes(*one[2:])) for one in totals)
    board_candidate, board_new = of_boards
    seen = Seen(phase, candidate, control, new, board_candidate, board_new)
    if texts is None:
        return seen
    decides, acts = map(from_json, texts)
    return replace(seen, tests=(decides, acts))
