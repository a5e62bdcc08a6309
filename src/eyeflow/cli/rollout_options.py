"""Options of the strategies, as the command line takes them and as the API does."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from eyeflow.base.reading import Unreadable
from eyeflow.cli.console import finite
from eyeflow.cli.durations import duration_us, seconds
from eyeflow.cli.files import usage_error

ANSWER_S = 60.0
"""How long `deploy` waits for nodes to install where nothing is watched, until told otherwise."""


class Strategy(Enum):
    """How a deployment moves nodes to a program."""

    IMMEDIATE = "immediate"
    ROLLING = "rolling"
    CANARY = "canary"
    BLUE_GREEN = "blue_green"
    SHADOW = "shadow"


StrategyOption = Annotated[Strategy, typer.Option("--strategy", help="How to roll it out.")]
Rollback = Annotated[
    bool, typer.Option("--rollback-on-error/--no-rollback", help="Put changed nodes back when one fails.")
]
Batch = Annotated[
    str, typer.Option("--batch", metavar="N|N%", help="rolling: how many nodes at once, or which share of them.")
]
Observe = Annotated[
    str, typer.Option("--observe", metavar="DURATION", help="How long to watch after each step, such as 60s.")
]
Steps = Annotated[
    str, typer.Option("--percent", metavar="N,N", help="canary: the shares of the traffic in percent, ascending.")
]
Samples = Annotated[
    int | None, typer.Option("--samples", metavar="N", min=1, help="How many executions a verdict needs.")
]
Failures = Annotated[
    float | None,
    typer.Option("--max-failures", metavar="PERCENT", callback=finite, help="Failed executions that are fine."),
]
WithSource = Annotated[
    bool,
    typer.Option(
        "--source/--no-source", help="Upload the rule's text and how its tests go, too, for `why` and the dashboard."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only tell what would happen: programs, state, what nodes cannot run.")
]
Replay = Annotated[
    str,
    typer.Option(
        "--replay",
        metavar="DURATION",
        help="First let the nodes try it on their recorded events of so much time, such as 24h, and show what differs.",
    ),
]
ReplayTimeout = Annotated[
    float,
    typer.Option(
        "--replay-timeout",
        metavar="DURATION",
        parser=seconds(1, 3600),
        help="How long nodes may take for --replay.",
    ),
]
FailOnDifference = Annotated[
    bool,
    typer.Option(
        "--fail-on-difference",
        help="With --replay: stop, with exit code 1, if a decision differs or none is compared.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="After --replay: go on without asking.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=seconds(),
        help="How long to wait: 60s where nothing is watched, else until it has ended.",
    ),
]


def how(strategy: Strategy, *chosen: Any) -> dict[str, Any]:
    """Return the strategy with its options, as the client takes them. Raises EyeflowError as `options`."""
    return {"strategy": strategy.value, "options": options(*chosen)}


def options(
    batch: str, observe: str, steps: str, samples_min: int | None, failures_max: float | None
) -> dict[str, Any]:
    """Return the options of the strategy as the API takes them. Raises EyeflowError for what is no number."""
    found: dict[str, Any] = {}
    if batch:
        share = batch.removesuffix("%")
        found["batch" if share == batch else "batchPercent"] = _number(share, "--batch", whole=share == batch)
    if observe:
        found["observeS"] = _seconds(observe)
    if steps:
        found["steps"] = [_number(step, "--percent") for step in steps.split(",")]
    if samples_min is not None:
        found["samplesMin"] = samples_min
    if failures_max is not None:
        found["failuresMaxPercent"] = failures_max
    return found


def patience(timeout_s: float | None, begun: dict[str, Any]) -> float | None:
    """Return how long to wait for a deployment that has begun; None: until it has ended."""
    return ANSWER_S if timeout_s is None and not begun["options"]["observeS"] else timeout_s


def _seconds(text: str) -> int:
    try:
        return duration_us(text) // 1_000_000
    except Unreadable as error:
        raise usage_error(f"--observe: {error}", "write it like 60s, 5min or 1h") from None


def _number(text: str, option: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise usage_error(f"{option}: `{text}` is no number", "write it like 3, or 10 for percent") from None
