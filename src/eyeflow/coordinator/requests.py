"""Requests that are to have an effect once, however often they are sent: by the header `Idempotency-Key`.

A client that lost the answer to a deployment sends it again with the same key. As in the draft of the IETF's working
group HTTPAPI (draft-ietf-httpapi-idempotency-key-header-07): the same key with the same request is answered with what
was begun, with another request it is refused (422), and while the first is at work, too (409).

What a key stands for is kept in the same transaction that begins the deployment. So no crash and no other coordinator
comes between, and a request that was refused leaves nothing: it may be sent again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.kept_requests import KeptRequest

HEADER = "Idempotency-Key"
KEY_CHARS_MAX = 128
KEPT_S = 24 * 3600
"""How long a key is known."""
KEPT_MAX = 1_000
"""Keys of one caller that are known; the oldest go first."""
KEY_PATTERN = rf"[!#-\[\]-~]{{1,{KEY_CHARS_MAX}}}"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A key of a caller (the id of the token), and the digest of the request that came with it."""

    caller: str
    key: str
    digest: bytes


def request_key(header: str | None, caller: str, path: str, body: Any) -> RequestKey | None:
    """Return the key that a request has, None without one; raises Problem for what is no key.

    The header is a string as structured fields have it (RFC 9651), in quotation marks; they may be left out.
    """
    if header is None:
        return None
    text = header.strip()
    key = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if re.fullmatch(KEY_PATTERN, key) is None:
        detail = (
            f"`{HEADER}` has 1 to {KEY_CHARS_MAX} visible ASCII characters, without blanks, quotation marks and \\."
        )
        raise Problem("bad_idempotency_key", detail, "send a random UUID for each deployment")
    whole = json.dumps([path, body], sort_keys=True, separators=(",", ":"))
    return RequestKey(caller, key, hashlib.sha256(whole.encode()).digest())


def answered(reading: Reading, request: RequestKey | None, now_us: int) -> KeptRequest | None:
    """Return what was begun for this request; raises Problem when another one came with its key."""
    found = None if request is None else reading.request(request.caller, request.key)
    if request is None or found is None or found.created_us <= now_us - KEPT_S * 1_000_000:
        return None
    if found.digest != request.digest:
        detail = f"The key `{request.key}` came with another request before."
        raise Problem("idempotency_key_reused", detail, "send a new key with each new request")
    return found


def remember(writing: Writing, request: RequestKey | None, deployment_id: str, now_us: int) -> None:
    """Keep what was begun for a request, empty for nothing, and forget what is too old or too much."""
    if request is not None:
        writing.keep_request(KeptRequest(request.caller, request.key, request.digest, now_us, deployment_id))
        writing.forget_requests(now_us - KEPT_S * 1_000_000, request.caller, KEPT_MAX)


class Requests:
    """The requests with a key that are at work here."""

    def __init__(self) -> None:
        self._at_work: set[tuple[str, str]] = set()

    @contextmanager
    def working(self, request: RequestKey | None) -> Iterator[None]:
        """Work on a request; raises Problem while another one with its key is at work."""
        if request is None:
            yield
            return
        at = (request.caller, request.key)
        if at in self._at_work:
            detail = f"A request with the key `{request.key}` is at work."
            raise Problem("request_in_progress", detail, "send it again in a moment")
        self._at_work.add(at)
        try:
            yield
        finally:
            self._at_work.discard(at)
