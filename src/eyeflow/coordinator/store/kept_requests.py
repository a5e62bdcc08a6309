"""What the store keeps of requests that are to have an effect once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """What was begun for a request that came with a key. `deployment_id` empty: nothing was left to change."""

    caller: str
    key: str
    digest: bytes
    created_us: int
    deployment_id: str


class RequestReading(Protocol):
    """Questions about requests."""

    def request(self, caller: str, key: str) -> KeptRequest | None:
        """Return what was begun for a request with this key."""
        ...


class RequestWriting(RequestReading, Protocol):
    """Changes of what is kept of requests, inside one step."""

    def keep_request(self, request: KeptRequest) -> None:
        """Keep what was begun for a request, in place of what was kept under its key."""
        ...

    def forget_requests(self, before_us: int, caller: str, kept: int) -> None:
        """Forget the requests of all from before a time, and those of a caller beyond the newest `kept`."""
        ...
