"""Sessions and sign-in links come back as they were, are bounded, and end with their time and when somebody says so."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.store.kept_credentials import KeptSession, KeptSignInLink

A, B, C, D = (bytes([number]) * 32 for number in range(4))


def session(kept: Any, one: bytes) -> KeptSession | None:
    found: KeptSession | None = kept.file.read(lambda reading: reading.session(one))
    return found


def add(kept: Any, one: bytes, token: str, created_us: int, most: int = 10) -> KeptSession:
    made = KeptSession(one, token, created_us, created_us + 100, created_us)
    kept.do(lambda writing: writing.add_session(made, most))
    return made


def test_sessions_come_back_and_end(kept: Any) -> None:
    first, second = add(kept, A, "t", 1), add(kept, B, "t", 2)
    other = add(kept, C, "u", 3)
    assert [session(kept, one) for one in (A, B, C, D)] == [first, second, other, None]
    kept.do(lambda writing: writing.record_session_uses({A: 50, B: 1, D: 9}))
    assert session(kept, A).used_us == 50 and session(kept, B).used_us == 2, "a later time stays"
    kept.do(lambda writing: writing.end_session(A))
    assert session(kept, A) is None and session(kept, B) == second
    assert kept.do(lambda writing: writing.end_sessions("t")) == 1
    assert session(kept, B) is None and session(kept, C) == other, "those of another token go on"


def test_what_has_expired_goes_and_of_a_token_the_oldest_beyond_a_bound(kept: Any) -> None:
    add(kept, A, "t", 1)
    add(kept, B, "u", 50)
    add(kept, C, "u", 101)
    assert session(kept, A) is None and session(kept, B) is not None, "only what has expired"
    add(kept, D, "u", 102, most=2)
    assert session(kept, B) is None and session(kept, C) is not None and session(kept, D) is not None


def test_a_link_is_taken_once(kept: Any) -> None:
    def take(one: bytes) -> KeptSignInLink | None:
        found: KeptSignInLink | None = kept.do(lambda writing: writing.take_sign_in_link(one))
        return found

    def link(one: bytes, token: str, expires_us: int, now_us: int = 0, most: int = 10) -> KeptSignInLink:
        made = KeptSignInLink(one, token, expires_us)
        kept.do(lambda writing: writing.add_sign_in_link(made, now_us, most))
        return made

    made = link(A, "t", 10)
    assert take(A) == made and take(A) is None and take(B) is None
    link(A, "t", 10)
    link(B, "t", 30, now_us=10)
    assert take(A) is None, "it has expired"
    link(C, "t", 40, most=1)
    assert take(B) is None and take(C) is not None, "the newest stays"
    link(D, "t", 50)
    kept.do(lambda writing: writing.end_sessions("t"))
    assert take(D) is None, "signing out everywhere ends links, too"
