"""`llm.*` against a real HTTP server that speaks the OpenAI-compatible protocol: typed answers or failures."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components.http_server import serve
from eyeflow.base.errors import EyeflowError
from eyeflow.node.io.llm import driver as llm
from eyeflow.node.io.llm.driver import ANSWER_BYTES_MAX, LlmDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value

CLASSIFY: dict[str, Value] = {"text": "belt squeaks", "instruction": "How urgent?", "label": "LOW,HIGH"}


def ask(
    answer: Callable[[Request, bytes], Response],
    capability: str,
    args: dict[str, Value],
    timeout_us: int = 0,
    **more: Any,
) -> tuple[Value, dict[str, Any], Request]:
    """Ask once; return the answer, and what the endpoint was asked."""
    seen: list[tuple[Request, bytes]] = []

    def record(request: Request, body: bytes) -> Response:
        seen.append((request, body))
        return answer(request, body)

    with serve(record) as url:
        driver = LlmDriver(LlmConfig.from_table({"endpoint": f"{url}/v1/", "model": "small", **more}))
        try:
            value = driver.read(capability, args, timeout_us)
        finally:
            asyncio.run(driver.close())
    request, body = seen[0]
    return value, json.loads(body), request


def completion(content: object) -> Callable[[Request, bytes], Response]:
    return lambda _request, _body: JSONResponse({"choices": [{"message": {"role": "assistant", "content": content}}]})


def test_classify_gives_a_member_and_asks_for_exactly_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_LLM_KEY", "sk-test")
    value, asked, request = ask(completion(" HIGH\n"), "llm.classify", CLASSIFY, key_env="TEST_LLM_KEY")
    assert value == "HIGH"
    assert request.url.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-test"
    assert (asked["model"], asked["temperature"]) == ("small", 0)
    system, user = asked["messages"]
    assert user == {"role": "user", "content": "belt squeaks"}
    assert "How urgent?" in system["content"]
    assert "exactly one" in system["content"]
    assert "LOW, HIGH" in system["content"]


@pytest.mark.parametrize("content", ["MEDIUM", "high", "HIGH or LOW", "The answer is HIGH.", "", None, 5, ["HIGH"]])
def test_what_is_no_member_is_a_failure(content: object) -> None:
    with pytest.raises(CapabilityFailure):
        ask(completion(content), "llm.classify", CLASSIFY)


def test_complete_is_bounded_in_bytes() -> None:
    value, asked, _request = ask(completion("äöü"), "llm.complete", {"prompt": "say", "max": 6})
    assert value == "äöü"
    assert asked["messages"][1]["content"] == "say"
    with pytest.raises(CapabilityFailure, match="6 bytes, more than 5"):
        ask(completion("äöü"), "llm.complete", {"prompt": "say", "max": 5})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _r, _b: Response(status_code=500), "answered 500"),
        (lambda _r, _b: Response(status_code=401), "answered 401"),
        (lambda _r, _b: Response("no json"), "no chat completion"),
        (lambda _r, _b: JSONResponse({"choices": []}), "no chat completion"),
        (lambda _r, _b: JSONResponse([1]), "no chat completion"),
        (lambda _r, _b: Response(b"[" * 50_000), "no chat completion"),
        (lambda _r, _b: Response(b" " * (ANSWER_BYTES_MAX + 1)), "more than 1048576 bytes"),
    ],
)
def test_a_bad_endpoint_is_a_failure(answer: Callable[[Request, bytes], Response], reason: str) -> None:
    with pytest.raises(CapabilityFailure, match=reason):
        ask(answer, "llm.classify", CLASSIFY)


@pytest.mark.parametrize(("timeout_us", "config"), [(100_000, {}), (0, {"timeout_s": 0.1})])
def test_the_timeout_of_the_call_or_of_the_configuration(timeout_us: int, config: dict[str, float]) -> None:
    release = threading.Event()

    def hang(_request: Request, _body: bytes) -> Response:
        release.wait(60)
        return Response()

    with serve(hang) as url:
        driver = LlmDriver(LlmConfig.from_table({"endpoint": url, "model": "m", **config}))
        with pytest.raises(CapabilityFailure, match=r"did not answer within 0\.1s"):
            driver.read("llm.classify", CLASSIFY, timeout_us)
        assert driver.status.counters["failures"] == 1
        release.set()
        asyncio.run(driver.close())


def test_nobody_listens_and_no_such_capability() -> None:
    driver = LlmDriver(LlmConfig("http://127.0.0.1:9/v1", "m"))
    with pytest.raises(CapabilityFailure, match="cannot reach the language model"):
        driver.read("llm.classify", CLASSIFY, 0)
    with pytest.raises(CapabilityFailure, match="not a read"):
        driver.read("llm.dream", {}, 0)
    asyncio.run(driver.close())


def test_a_key_that_is_not_set_stops_the_start() -> None:
    with pytest.raises(EyeflowError, match="EYEFLOW_NO_KEY is not set"):
        LlmDriver(LlmConfig("http://127.0.0.1:9/v1", "m", key_env="EYEFLOW_NO_KEY"))


def test_no_more_questions_are_under_way_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six rules ask at once, two are allowed: nobody's question counts against the time of another's answer."""
    monkeypatch.setattr(llm, "CALLS_MAX", 2)
    guard, two = threading.Lock(), threading.Barrier(2)
    now = most = 0

    def answer(request: Request, body: bytes) -> Response:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        two.wait(60)
        with guard:
            now -= 1
        return completion("HIGH")(request, body)

    with serve(answer) as url:
        driver = LlmDriver(LlmConfig(url, "m"))
        with ThreadPoolExecutor(6) as rules:
            answers = list(rules.map(lambda _: driver.read("llm.classify", CLASSIFY, 0), range(6)))
        asyncio.run(driver.close())
    assert answers == ["HIGH"] * 6 and most == 2
