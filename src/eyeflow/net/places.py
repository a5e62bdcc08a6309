"""The places of a server: who holds one, and whose connection gives way when there are none left. No I/O."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may take from one server.

    `head_s`: from the opening of a connection, or from the end of an answer, to the end of the next request's head.
    `write_s`: how long a peer may leave sent bytes unread. `tls_s`: for the TLS handshake, and for its goodbye.
    """

    connections_max: int
    per_address_max: int
    head_s: float = 10.0
    write_s: float = 30.0
    tls_s: float = 10.0


@dataclass(eq=False, slots=True)
class Place:
    """One open connection. `end` closes it at once; `waiting`: the peer owes us bytes, so it may be asked to leave.

    A `fresh` one is not waiting yet: its first bytes may lie in the system's buffer. `has_unread` says whether some do.
    """

    address: str
    end: Callable[[], object] = lambda: None
    has_unread: Callable[[], bool] = lambda: False
    fresh: bool = True
    graces: int = 0
    waiting: bool = False
    counted: bool = field(default=True, repr=False)


class Places:
    """All open connections of one server, counted until their descriptors are closed.

    When there is no room, the connection that waits longest of the address with the most connections goes. So a flood
    costs the flooder: somebody else's request, which comes at once, is never the oldest of the busiest address.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.count = 0
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, dict[Place, None]] = {}

    def enter(self, address: str) -> Place:
        """Count a connection in."""
        place = Place(address)
        self.count += 1
        self._held[address] += 1
        return place

    def leave(self, place: Place) -> None:
        """Count a connection out: its descriptor is closed."""
        self.count -= 1
        self.mark(place, waiting=False)
        self._discount(place)

    def mark(self, place: Place, *, waiting: bool) -> None:
        """Tell whether the peer owes us bytes or we owe the peer an answer."""
        if waiting and not place.waiting and not place.fresh:
            place.waiting = True
            self._waiting.setdefault(place.address, {})[place] = None
        elif not waiting:
            place.fresh = False
            self._stop_waiting(place)

    def begin_grace(self, place: Place) -> int:
        """Keep a connection whose first bytes could not be read yet; returns what `end_grace` takes."""
        self.mark(place, waiting=False)
        place.fresh = True
        place.graces += 1
        return place.graces

    def end_grace(self, place: Place, grace: int) -> None:
        """Let a connection that sent nothing since this grace began give way from now on."""
        if place.fresh and place.graces == grace:
            place.fresh = False
            self.mark(place, waiting=True)

    def make_link(self, place: Place) -> None:
        """Take a connection that proved who it is out of its address's count: many nodes may share one address."""
        self.mark(place, waiting=False)
        self._discount(place)

    def is_full(self) -> bool:
        """Say whether there is no place left."""
        return self.count >= self.limits.connections_max

    def is_address_full(self, address: str) -> bool:
        """Say whether this address holds as many places as one may."""
        return self._held[address] >= self.limits.per_address_max

    def weakest(self, address: str | None = None) -> Place | None:
        """Return the place that gives way, of `address` or of all; None when everybody is being served."""
        if address is None:
            address = max(self._waiting, key=lambda one: self._held[one], default="")
        return next(iter(self._waiting.get(address, ())), None)

    def busiest(self) -> str:
        """Return the address with the most places, for the log."""
        address, count = next(iter(self._held.most_common(1)), ("nobody", 0))
        return f"{count} from {address}"

    def _stop_waiting(self, place: Place) -> None:
        place.waiting = False
        waiting = self._waiting.get(place.address, {})
        waiting.pop(place, None)
        if not waiting:
            self._waiting.pop(place.address, None)

    def _discount(self, place: Place) -> None:
        if place.counted:
            place.counted = False
            self._held[place.address] -= 1
            if not self._held[place.address]:
                del self._held[place.address]


def group_of(host: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 one, which one host has whole."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
