from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from eyeflow import coordinator
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.client.answers import NEXT_STEPS
from eyeflow.client.rest import BACK_S, POLL_LAST_S, RESTART_POLLS_MAX, CoordinatorClient

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> CoordinatorClient:
    def streamed(request: httpx.Request) -> httpx.Response:
        whole = answer(request)
        return httpx.Response(whole.status_code, headers=whole.headers, stream=httpx.ByteStream(whole.content))

    return CoordinatorClient("http://coordinator:7700/", "eft_secret", transport=httpx.MockTransport(streamed))


def problem(status: int, **body: Any) -> Answer:
    full = {"title": "Title", "status": status, "type": "urn:x", **body}
    return lambda request: httpx.Response(status, json=full)


def test_requests_carry_the_token_in_the_header_only() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"nodes": [], "nextCursor": ""})

    with client(answer) as one:
        one.nodes()
        one.node("a b?c")
        one.deploy("pump", {"all": True}, params={"limit": 1.5}, deadline_s=9)
        one.deploy("pump", {"nodeIds": ["a"]}, program_id="p", rollback_on_error=False)
        one.upload_program(b"\x7fSVM")
        one.remove_node("a")
        one.revoke_key(bytes(32))
        one.revoke_token("ab")
    assert all(request.headers["authorization"] == "Bearer eft_secret" for request in seen)
    assert not any("secret" in str(request.url) for request in seen)
    assert [(request.method, request.url.raw_path.decode()) for request in seen] == [
        ("GET", "/api/nodes?limit=500"),
        ("GET", "/api/nodes/a%20b%3Fc"),
        ("POST", "/api/rules/pump/deploy"),
        ("POST", "/api/rules/pump/deploy"),
        ("POST", "/api/programs"),
        ("DELETE", "/api/nodes/a"),
        ("DELETE", "/api/keys/" + "00" * 32),
        ("DELETE", "/api/tokens/ab"),
    ]
    everywhere = {
        "all": True,
        "strategy": "immediate",
        "rollbackOnError": True,
        "params": {"limit": 1.5},
        "deadlineS": 9,
    }
    assert json.loads(seen[2].content) == everywhere
    some = {"nodeIds": ["a"], "strategy": "immediate", "rollbackOnError": False, "params": {}, "programId": "p"}
    assert json.loads(seen[3].content) == some
    assert seen[4].headers["content-type"] == "application/octet-stream"


def test_a_problem_becomes_an_error_with_every_place_and_the_next_step() -> None:
    errors = [{"pointer": "/params/limt", "message": "did you mean `limit`?"}]
    answer = problem(422, code="invalid_params", detail="It does not fit.", nextStep="look", errors=errors)
    with client(answer) as one, pytest.raises(EyeflowError) as error:
        one.deploy("pump", {"nodeIds": ["a"]})
    assert (error.value.code, error.value.exit_code) == ("invalid_params", ExitCode.PROBLEMS)
    assert (error.value.message, error.value.next_step) == ("It does not fit", "look")
    assert error.value.cause == "limt: did you mean `limit`?"
    named = [
        {"pointer": "/nodeIds/0", "message": "is not in the cluster; did you mean `a`?"},
        {"pointer": "/nodeIds/1", "message": "is not in the cluster"},
    ]
    with (
        client(problem(422, code="unknown_nodes", detail="Not: b, c.", errors=named)) as one,
        pytest.raises(EyeflowError) as error,
    ):
        one.deploy("pump", {"nodeIds": ["b", "c"]})
    assert (error.value.message, error.value.cause) == ("Not: b, c", "did you mean `a`?")
    with client(problem(503, code="storage", detail="full")) as one, pytest.raises(EyeflowError) as server:
        one.status()
    assert server.value.exit_code is ExitCode.ENVIRONMENT


def test_no_refusal_tells_a_user_of_commands_to_use_rest() -> None:
    """The advice of the coordinator is for users of REST; every code whose advice names REST has one of its own."""
    source = "".join(path.read_text() for path in Path(coordinator.__file__).parent.glob("*.py"))
    named = re.findall(r'Problem\(\s*"(\w+)",[^)]*(?:GET|POST|DELETE|PUT) /api', source)
    assert {"node_not_found", "rule_not_found", "program_not_found"} <= set(named), "the control: there are some"
    assert set(named) <= NEXT_STEPS.keys()
    for code in NEXT_STEPS:
        with (
            client(problem(404, code=code, detail="No.", nextStep="GET /api/x")) as one,
            pytest.raises(EyeflowError) as error,
        ):
            one.status()
        assert "eyeflow " in error.value.next_step and "/api" not in error.value.next_step
        assert "status" not in error.value.cause


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[1]),
        httpx.Response(404, text="nope"),
        httpx.Response(500, json={"oops": 1}),
        httpx.Response(302, headers={"location": "http://evil.example"}),
    ],
)
def test_another_server_is_recognized(reply: httpx.Response) -> None:
    with client(lambda request: reply) as one, pytest.raises(EyeflowError) as error:
        one.status()
    assert error.value.code == "not_a_coordinator"
    assert error.value.exit_code is ExitCode.ENVIRONMENT


def test_nobody_listening_is_said() -> None:
    with CoordinatorClient("http://127.0.0.1:1", "t") as one, pytest.raises(EyeflowError) as error:
        one.status()
    assert (error.value.code, error.value.exit_code) == ("unreachable", ExitCode.ENVIRONMENT)
    assert error.value.next_step == "is the coordinator running? eyeflow coordinator start"


@pytest.mark.parametrize("url", ["", "coordinator", "ftp://x", "http://[", "http://x:99999"])
def test_a_wrong_url_is_said(url: str) -> None:
    with pytest.raises(EyeflowError) as error, CoordinatorClient(url, "t") as one:
        one.status()
    assert error.value.code in {"bad_url", "unreachable"}


def test_a_missing_ca_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(EyeflowError) as error:
        CoordinatorClient("https://x", "t", ca_file=str(tmp_path / "none.pem"))
    assert error.value.code == "ca_file"


def deployment(state: str, observe_s: int = 0, **nodes: tuple[str, bool]) -> dict[str, Any]:
    shown = [{"node": name, "state": one[0], "connected": one[1]} for name, one in nodes.items()]
    over = state in {"succeeded", "failed"}
    return {"state": state, "over": over, "options": {"observeS": observe_s}, "verdict": None, "nodes": shown}


def wait_through(*script: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Wait over these answers on a virtual clock; returns what was returned, and after how many seconds."""
    answers, now_s = list(script), [100.0]

    def sleep(duration_s: float) -> None:
        now_s[0] += duration_s

    with client(lambda request: httpx.Response(200, json=answers.pop(0) if len(answers) > 1 else answers[0])) as one:
        ended = one.wait_deployment("d", timeout_s=60, sleep=sleep, clock=lambda: now_s[0])
    return ended, now_s[0] - 100


def test_nobody_waits_for_nodes_that_are_all_offline() -> None:
    ended, waited_s = wait_through(deployment("installing", a=("waiting", False), b=("waiting", False)))
    assert ended["state"] == "installing" and waited_s == 0


def test_what_watches_its_nodes_is_waited_for_also_with_offline_ones() -> None:
    watched = deployment("observing", 60, a=("installed", True), b=("away", False))
    ended, waited_s = wait_through(watched, watched | {"verdict": {"leftS": 3}}, deployment("succeeded", 60))
    assert ended["state"] == "succeeded" and waited_s > 0


def test_control_a_connected_node_is_waited_for() -> None:
    _, waited_s = wait_through(deployment("installing", a=("waiting", True), b=("waiting", False)))
    assert waited_s >= 60


def test_of_a_mixed_fleet_the_connected_nodes_are_waited_for_and_the_others_not() -> None:
    ended, waited_s = wait_through(
        *[deployment("installing", a=("sent", True), b=("waiting", False))] * 5,
        deployment("installing", a=("installed", True), b=("waiting", False)),
    )
    assert ended["nodes"][0]["state"] == "installed" and 0 < waited_s < BACK_S


def test_a_node_that_starts_again_meanwhile_is_waited_for() -> None:
    away = deployment("installing", a=("waiting", False))
    ended, _ = wait_through(
        deployment("installing", a=("sent", True)), away, away, deployment("succeeded", a=("installed", True))
    )
    assert ended["state"] == "succeeded"
    ended, waited_s = wait_through(deployment("installing", a=("sent", True)), away)
    assert ended == away and BACK_S <= waited_s < BACK_S + 2 * POLL_LAST_S


def test_waiting_shows_each_change_and_outlives_a_restart() -> None:
    gone = httpx.ConnectError("refused")
    script: list[Any] = ["installing", "installing", gone, gone, "rollingBack", "failed"]
    slept: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return httpx.Response(200, json=deployment(step, a=("sent", True)))

    shown: list[str] = []
    lost: list[str] = []
    with client(answer) as one:
        ended = one.wait_deployment(
            "d", lambda now: shown.append(now["state"]), on_lost=lost.append, sleep=slept.append
        )
    assert len(lost) == 1 and "cannot reach the coordinator" in lost[0], "said once, at once"
    assert ended["state"] == "failed"
    assert shown == ["installing", "rollingBack", "failed"]
    assert max(slept) <= POLL_LAST_S


def test_waiting_has_bounds() -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    slept: list[float] = []
    with client(never) as one, pytest.raises(EyeflowError) as error:
        one.wait_deployment("d", sleep=slept.append)
    assert error.value.code == "unreachable"
    assert len(slept) == RESTART_POLLS_MAX
    clock = iter(range(100))
    open_ = deployment("installing", a=("sent", True))
    with client(lambda request: httpx.Response(200, json=open_)) as one:
        waited = one.wait_deployment("d", timeout_s=3, sleep=slept.append, clock=lambda: float(next(clock)))
    assert waited == open_


@pytest.mark.parametrize("name", [".", "..", "..."])
def test_a_name_of_dots_stays_in_its_place(name: str) -> None:
    """`DELETE /api/tokens/..` would be a request for another path."""
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(200, json={})

    with client(answer) as one:
        one.node(name)
    assert seen == [b"/api/nodes/" + b"%2E" * len(name)]


def test_a_name_with_a_slash_is_not_sent() -> None:
    with client(problem(404)) as one, pytest.raises(EyeflowError) as refused:
        one.node("a/b")
    assert refused.value.exit_code is ExitCode.PROBLEMS and refused.value.cause == "it has a slash"
