"""What became of executions, as two counts; and how they follow from the counters of a node."""

from __future__ import annotations

from eyeflow.base.record import dataclass


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many executions there were, and how many of them failed.

    An action may fail after its execution was counted. So an increment may hold more failures than executions; a total
    must not be read so: `failed` is at most `executions`. Raises ValueError for a negative count.
    """

    executions: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        if self.executions < 0 or self.failures < 0:
            raise ValueError(f"counts are never negative: {self.executions} executions, {self.failures} failures")

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(self.executions + other.executions, self.failures + other.failures)

    @property
    def failed(self) -> int:
        """How many executions failed, as far as they were counted."""
        return min(self.failures, self.executions)

    @property
    def counted(self) -> Outcomes:
        """The outcomes without the failures of executions that were counted earlier."""
        return Outcomes(self.executions, self.failed)

    @property
    def late(self) -> Outcomes:
        """The failures of executions that were counted earlier."""
        return Outcomes(0, self.failures - self.failed)

    @property
    def rate(self) -> float:
        """The share of executions that failed, 0 to 1; 0 without executions."""
        return self.failed / self.executions if self.executions else 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of a program as two counts that are judged apart.

    `decisions` are executions, and those that failed before they acted; `actions` are executions that acted, and those
    with an action that failed. In one count, a program that acts seldom could fail in each of its actions and pass.
    """

    decisions: Outcomes = Outcomes()
    actions: Outcomes = Outcomes()

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.decisions + other.decisions, self.actions + other.actions)

    def since(self, earlier: Tally) -> Tally:
        """Return what came since `earlier`. Totals of several nodes fall when a node goes: nothing is known then."""
        parts = ((self.decisions, earlier.decisions), (self.actions, earlier.actions))
        if any(now.executions < then.executions or now.failures < then.failures for now, then in parts):
            return Tally()
        return Tally(*(Outcomes(a.executions - b.executions, a.failures - b.failures) for a, b in parts))


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters that a node keeps for a program in a slot, since it began there for a deployment.

    `acted` counts the executions that had a driver act: actions that are withheld, or change nothing, or write to the
    log do not count. `traps` and `missed_deadlines` count executions. `failed_actions` counts executions with at least
    one action that failed: three failures in one execution would pass for three bad executions. `rejected` counts
    events that were never run.
    """

    executions: int = 0
    traps: int = 0
    failed_actions: int = 0
    missed_deadlines: int = 0
    rejected: int = 0
    acted: int = 0

    def since(self, earlier: Counts) -> Counts:
        """Return what came since `earlier`, never less than nothing.

        A node that crashed has forgotten its last seconds: its counters are lower than what it told before. What it
        counts again until it is where it was is no news.
        """
        return Counts(*(max(0, now - then) for now, then in zip(_values(self), _values(earlier), strict=True)))

    def highest(self, other: Counts) -> Counts:
        """Return the higher of each counter: what the next `since` begins from."""
        return Counts(*map(max, _values(self), _values(other)))

    def tally(self) -> Tally:
        """Return outcomes, each execution at most once as far as the counters tell.

        A late execution may also be one that trapped: then it is counted once. A rejected event counts as an execution
        that failed.
        """
        failures = max(self.traps, self.missed_deadlines)
        decisions = Outcomes(self.executions + self.rejected, failures + self.rejected)
        return Tally(decisions, Outcomes(self.acted, self.failed_actions))


def _values(counts: Counts) -> tuple[int, ...]:
    return tuple(getattr(counts, name) for name in Counts.__match_args__)
