"""Who listens to a board through the coordinator waits for what goes away meanwhile, and loses no line by it."""

from __future__ import annotations

import base64
from itertools import islice
from typing import Any

import pytest
from typer.testing import CliRunner

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link.messages import LlmRequest, LogLine
from eyeflow.cli import mcu_cluster
from eyeflow.cli.main import command_line
from eyeflow.protocol.audit import encode_next
from eyeflow.protocol.audit_bodies import BoardRecordBody, Body


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


class Archive:
    """Stands for `CoordinatorClient`: the chain of a board by epoch, and how far a copy has come by its own word."""

    def __init__(self, **chains: list[Body]) -> None:
        self.chains = {int(name[1:]): bodies for name, bodies in chains.items()}
        self.ahead, self.asked, self.is_away = 0, 0, False

    def copies(self, name: str) -> Any:
        if self.is_away:
            raise EyeflowError("cannot reach the coordinator", code="unreachable")
        found = [{"epoch": one, "seq": len(bodies) + self.ahead} for one, bodies in sorted(self.chains.items())]
        return [one | {"branch": branch} for one in reversed(found) for branch in (1, 0)]

    def records(self, name: str, after: int, limit: int, *, epoch: int) -> Any:
        self.asked += 1
        assert self.asked < 100, "it asks again and again without a pause"
        rows = [
            {"seq": seq, "record": base64.b64encode(encode_next(name, epoch, seq, bytes(32), 9, body)).decode()}
            for seq, body in enumerate(self.chains.get(epoch, ()), 1)
        ]
        return rows[after : after + limit]


def of_board(*numbers: int) -> list[Body]:
    return [BoardRecordBody(1, number, b"data") for number in numbers]


def shown(archive: Any, count: int = 10_000, follow: bool = False) -> list[int]:
    return [one.number for one in islice(mcu_cluster.records_of(archive, "press", follow), count)]


def test_the_newest_records_of_a_board_are_shown() -> None:
    assert shown(Archive()) == []
    long = of_board(*range(mcu_cluster.SEARCHED_MAX + 50))
    assert shown(Archive(e1=of_board(1), e2=long)) == list(range(len(long)))[-mcu_cluster.RECORDS_SHOWN :]


def test_records_that_come_follow_also_over_a_coordinator_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(e1=of_board(1, 2))

    def time_passes(_: float) -> None:
        """What happens while the command waits, a step at each of its pauses."""
        step = next(steps)
        if step == "away":
            archive.is_away = True
        elif step == "back":
            archive.is_away = False
            archive.chains[1] += of_board(3)
        elif step == "ahead":
            archive.ahead = 1
        elif step == "adopted":
            archive.chains[2], archive.ahead = of_board(7), 0

    steps = iter(["nothing", "away", "still", "back", "ahead", "unread", "adopted"])
    monkeypatch.setattr("eyeflow.cli.mcu_cluster.time.sleep", time_passes)
    assert shown(archive, 4, follow=True) == [1, 2, 3, 7]
    assert next(steps, None) is None, "it pauses also where the copy is said to be longer than it is"


PORT, BOTH = ("--port", "/dev/ttyACM0"), "is of a board at a serial port"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("log", "--node", "press", *PORT), f"--port {BOTH}"),
        (("monitor", "--node", "press", *PORT), f"--port {BOTH}"),
        (("log", "--node", "press", "--forget"), f"--forget {BOTH}"),
        (("log", "--follow", *PORT), "--follow needs --node"),
    ],
)
def test_a_board_is_named_by_its_port_or_by_its_name(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(EyeflowError, match=says) as refused:
        CliRunner().invoke(command_line(), ["mcu", *words], catch_exceptions=False)
    assert refused.value.exit_code == ExitCode.USAGE
