from __future__ import annotations

import pytest

from eyeflow.rollout.deployment import Deployment, Options, Pause, Rollback
from eyeflow.rollout.forecast import Forecast, forecast
from eyeflow.rollout.strategies import STRATEGIES

WATCHED = Options(observe_s=60)
WEEK_S = 7 * 86_400
NOW_US = 1_790_000_000_000_000


def of(
    strategy: str, options: Options, nodes: int, paused: tuple[Pause, ...] = (), deadline_us: int = 10**18
) -> Forecast:
    targets = (("pump", None),)
    made = Deployment("d", targets, strategy, Rollback.ON_ERROR, NOW_US, deadline_us, options=options, paused=paused)
    return forecast(made, nodes)


@pytest.mark.parametrize(
    ("strategy", "options", "nodes", "steps", "least_s"),
    [
        ("immediate", Options(), 7, 1, 0),
        ("immediate", WATCHED, 7, 1, 60),
        ("rolling", Options(observe_s=60, batch=3), 10, 4, 240),
        ("rolling", Options(observe_s=60, batch_share=2_500), 8, 4, 240),
        ("rolling", Options(observe_s=60, batch_share=2_500), 11, 6, 360),
        ("rolling", WATCHED, 1024, 1024, 1024 * 60),
        ("rolling", Options(observe_s=WEEK_S), 2, 2, 2 * WEEK_S),
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


def test_the_time_is_in_whole_seconds() -> None:
    assert type(of("canary", WATCHED, 3).least_s) is int


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_a_node_nothing_happens(strategy: str) -> None:
    assert of(strategy, WATCHED, 0) == Forecast(0, 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_deployment_that_must_end_sooner_goes_back_at_its_deadline(strategy: str) -> None:
    told = of(strategy, WATCHED, 3, deadline_us=NOW_US + 30_000_000)
    assert told.least_s == 60 and told.steps >= 1
