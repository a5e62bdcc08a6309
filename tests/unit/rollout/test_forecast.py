from __future__ import annotations

import pytest

from eyeflow.rollout.deployment import Deployment, Options, Pause, Rollback
from eyeflow.rollout.forecast import Forecast, forecast
from eyeflow.rollout.strategies import STRATEGIES

WATCHED = Options(observe_s=60)


def of(strategy: str, options: Options, nodes: int, paused: tuple[Pause, ...] = ()) -> Forecast:
    made = Deployment("d", (("pump", None),), strategy, Rollback.ON_ERROR, 5, 10**18, options=options, paused=paused)
    return forecast(made, nodes)


@pytest.mark.parametrize(
    ("strategy", "options", "nodes", "steps", "least_s"),
    [
        ("immediate", Options(), 7, 1, 0),
        ("immediate", WATCHED, 7, 1, 60),
        ("rolling", Options(observe_s=60, batch=3), 10, 4, 240),
        ("rolling", Options(observe_s=60, batch_share=2_500), 8, 4, 240),
        ("rolling", WATCHED, 1024, 1024, 1024 * 60),
        ("canary", Options(observe_s=60, steps=(1_000, 5_000)), 7, 3, 120),
        ("blue_green", WATCHED, 7, 2, 60),
        ("shadow", Options(observe_s=3600), 7, 1, 3600),
    ],
)
def test_steps_and_time_are_those_of_the_strategy(
    strategy: str, options: Options, nodes: int, steps: int, least_s: int
) -> None:
    assert of(strategy, options, nodes) == Forecast(steps, least_s)


def test_each_strategy_has_a_forecast_and_a_pause_does_not_change_it() -> None:
    for strategy in STRATEGIES:
        assert of(strategy, WATCHED, 3).steps >= 1
        assert of(strategy, WATCHED, 3, (Pause("approval", "why", 5),)) == of(strategy, WATCHED, 3)
