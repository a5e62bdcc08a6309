"""Refused credentials wait, by address and all together; right ones never do, and what is remembered is bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eyeflow.coordinator import refusals
from eyeflow.coordinator.refusals import FREE, PAUSE_S, WINDOW_S, Refusals


class Clock:
    now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


def waits(made: Refusals, host: str, times: int) -> list[bool]:
    return [made.count(host) for _ in range(times)]


def test_an_address_has_some_refusals_for_nothing_in_each_minute() -> None:
    clock = Clock()
    made = Refusals(clock)
    assert waits(made, "10.0.0.1", FREE + 2) == [False] * FREE + [True] * 2
    assert waits(made, "10.0.0.2", 1) == [False], "another one is another one"
    clock.now_s += WINDOW_S - 1
    assert made.count("10.0.0.1")
    clock.now_s += 1
    assert waits(made, "10.0.0.1", FREE + 1) == [False] * FREE + [True]


def test_the_addresses_of_one_host_are_one() -> None:
    made = Refusals(Clock())
    assert [made.count(f"2001:db8::{number:x}") for number in range(FREE + 1)][-1]
    assert not made.count("2001:db8:0:1::1")


def test_many_addresses_are_bounded_together_and_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "ADDRESSES_MAX", 50)
    monkeypatch.setattr(refusals, "FREE_IN_ALL", 200)
    made = Refusals(Clock())
    waited = [made.count(f"10.0.{number // 256}.{number % 256}") for number in range(300)]
    assert waited == [False] * 200 + [True] * 100 and made.remembered == 50


def test_who_waits_is_told_so() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def main() -> list[bool]:
        made = Refusals(Clock(), sleep)
        return [await made.pause("10.0.0.1") for _ in range(FREE + 1)]

    assert asyncio.run(main()) == [False] * FREE + [True] and slept == [PAUSE_S]


def test_every_way_to_be_refused_counts_and_a_right_token_never_waits(full: Any) -> None:
    key = {"publicKey": "ab" * 32, "signature": "cd" * 64, "node": "x"}
    stranger = {"token": "efj_" + "0" * 12 + "_" + "0" * 64 + "_" + "0" * 16, **key}
    false = {"Authorization": f"Bearer eft_{'0' * 12}_{'0' * 64}"}
    for number in range(FREE):
        if number % 2:
            reply = full.client.post("/api/nodes/join", json=stranger)
        else:
            reply = full.client.get("/api/status", headers=false if number % 4 else {})
        assert reply.status_code == 401 and full.pauses == [] and "connection" not in reply.headers
    for refused in (
        lambda: full.client.get("/api/nodes", headers=false),
        lambda: full.client.get("/api/nodes"),
        lambda: full.client.post("/api/nodes/join", json=stranger),
    ):
        reply = refused()
        assert reply.status_code == 401 and full.pauses == [PAUSE_S] and reply.headers["connection"] == "close"
        full.pauses.clear()
        assert full.ask("GET", "/api/nodes", "read").status_code == 200 and full.pauses == []
        assert full.ask("DELETE", "/api/nodes/node-a", "read").status_code == 403 and full.pauses == []
    assert full.client.open_link({"Authorization": "EyeflowLink no"}) == 401 and full.pauses == [PAUSE_S]
