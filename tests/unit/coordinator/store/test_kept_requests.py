"""What was begun for a request with an `Idempotency-Key` is kept by caller and key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eyeflow.coordinator.store.kept_requests import KeptRequest
from unit.coordinator.store.test_facts import A, B, look


def test_requests(kept: Any) -> None:
    made = [
        KeptRequest(caller, key, A, number, f"d-{number}") for number, (caller, key) in enumerate(("aa", "ab", "ba"))
    ]
    kept.do(lambda writing: [writing.keep_request(one) for one in made])
    assert look(kept, lambda reading: [reading.request(*at) for at in ("aa", "ab", "ba", "bb")]) == [*made, None]
    newer = replace(made[0], digest=B, created_us=9)
    kept.do(lambda writing: writing.keep_request(newer))
    assert look(kept, lambda reading: reading.request("a", "a")) == newer
    kept.do(lambda writing: writing.forget_requests(0, "a", 1))
    assert look(kept, lambda reading: [reading.request(*at) for at in ("aa", "ab", "ba")]) == [newer, None, made[2]]
    kept.do(lambda writing: writing.forget_requests(2, "a", 1))
    assert look(kept, lambda reading: [reading.request(*at) for at in ("aa", "ba")]) == [newer, None]
