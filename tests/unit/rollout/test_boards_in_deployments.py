"""What a deployment to nodes and boards is for each of them, and when the answer of a board is due."""

from __future__ import annotations

from dataclasses import replace

from eyeflow.rollout import progress
from eyeflow.rollout.deployment import (
    INSTALL_S,
    Deployment,
    NodeProgress,
    NodeState,
    Rollback,
    Target,
)

SECOND = 1_000_000
NOW_US = 1_790_000_000 * SECOND
NODES, RP2040, STM32 = "1" * 64, "2" * 64, "3" * 64
PARAMS = (("limit", 5),)
TARGET = Target(NODES, "d-1", PARAMS, (("RP2040", RP2040), ("STM32F401CC", STM32)))


def deployment(*targets: tuple[str, Target | None]) -> Deployment:
    return Deployment("d-1", targets, "rolling", Rollback.ON_ERROR, NOW_US, NOW_US + 10**12)


def test_a_board_gets_the_program_of_its_chip_and_all_others_that_for_nodes() -> None:
    assert TARGET.on("RP2040") == Target(RP2040, "d-1", PARAMS)
    assert TARGET.on("STM32F401CC") == Target(STM32, "d-1", PARAMS)
    assert TARGET.on("") == TARGET.on("nRF52840") == Target(NODES, "d-1", PARAMS)
    assert TARGET.program_ids == (NODES, RP2040, STM32)


def test_a_deployment_is_for_a_board_what_its_chip_runs_of_each_rule() -> None:
    plain = Target(NODES, "d-1")
    whole = deployment(("pump", TARGET), ("lamp", plain), ("fan", None))
    assert whole.has_board_programs and not deployment(("lamp", plain), ("fan", None)).has_board_programs
    seen = whole.on("RP2040")
    assert seen == replace(whole, targets=(("pump", Target(RP2040, "d-1", PARAMS)), ("lamp", plain), ("fan", None)))


WAITING = NodeProgress("mcu-1", NodeState.WAITING, due_us=7)


def test_the_answer_to_a_manifest_is_due_from_the_first_link_on() -> None:
    due_us = NOW_US + INSTALL_S * SECOND
    assert progress.sent(WAITING, NOW_US) == replace(WAITING, state=NodeState.SENT, due_us=due_us, touched_us=NOW_US)
    assert progress.sent(replace(WAITING, touched_us=5), NOW_US).touched_us == 5
    done = replace(WAITING, state=NodeState.INSTALLED)
    assert progress.sent(done, NOW_US) == progress.sent(done, NOW_US, is_away=True) == done


def test_a_board_that_is_away_is_waited_for() -> None:
    """Its gateway keeps the manifest. It may have changed the board already, or do so at any moment."""
    assert progress.sent(WAITING, NOW_US, is_away=True) == replace(WAITING, touched_us=NOW_US)
    assert progress.sent(replace(WAITING, touched_us=5), NOW_US, is_away=True).touched_us == 5
