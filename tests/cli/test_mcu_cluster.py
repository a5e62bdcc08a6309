"""Who listens to a board through the coordinator waits for what goes away meanwhile, and loses no line by it."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import LlmRequest, LogLine
from eyeflow.cli import mcu_cluster


class Coordinator:
    """Stands for `CoordinatorClient`: what each question for lines gets, in order."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[int | None]()

    def board_lines(self, name: str, since: int | None) -> Any:
        self.asked.append(since)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise EyeflowError("press cannot tell what it logs", code=answer)
        return {"lines": [{"level": 1, "text": text, "asks": ()} for text in answer[1]]} | {
            "next": answer[0],
            "missed": answer[2],
        }


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcu_cluster, "POLL_S", 0)


def heard(coordinator: Any, count: int) -> list[Any]:
    return list(islice(mcu_cluster.lines_of(coordinator, "press"), count))


def test_a_gateway_or_coordinator_that_goes_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    away = sorted(mcu_cluster.PASSING)
    coordinator = Coordinator((5, ["before"], 0), (6, ["first"], 0), *away, (9, ["second"], 2))
    found = heard(coordinator, 3)
    assert [one.text for one in found if isinstance(one, LogLine)] == [
        "first", "2 lines are missing here: they came faster than they were read", "second",
    ]  # fmt: skip
    assert coordinator.asked == [None, 5, *[6] * (len(away) + 1)], "it goes on where it was"
    assert capsys.readouterr().err.count("waits") == 1, "it says so once"
    assert not [one for one in found if isinstance(one, LlmRequest)]


@pytest.mark.parametrize("answers", [["board_unheard"], [(5, [], 0), "forbidden"]])
def test_what_was_never_there_and_what_does_not_pass_ends_it(answers: list[Any]) -> None:
    with pytest.raises(EyeflowError) as ended:
        heard(Coordinator(*answers), 1)
    assert ended.value.code == answers[-1]
