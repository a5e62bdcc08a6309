"""What the feed brings of the nodes whose link a coordinator holds: newer manifests, and what others changed."""

from __future__ import annotations

from dataclasses import dataclass

from eyeflow.coordinator.store.cluster_store import CursorTooOldError, Reading
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.protocol.messages import Manifest
from eyeflow.protocol.session import Offer

CHANGES_READ_MAX = 1_000
"""Changes of the feed that are read at once to find the nodes that get a new manifest."""


def offer_of(reading: Reading, node: str) -> Offer | None:
    """Return the newest signed manifest of a node, None for an unknown node."""
    found = reading.manifest(node)
    return None if found is None else Offer(found.version, Manifest(found.body, found.signature), found.program_ids)


@dataclass(frozen=True, slots=True)
class News:
    """What the feed brought of linked nodes.

    `others` changed otherwise than by a manifest: `known` of them are in the cluster, and `holders` tells which
    coordinator holds their link, empty for none. Only where another coordinator may have changed them they are looked
    at. `is_all`: nothing more is to be read behind `cursor`.
    """

    offers: dict[str, Offer]
    others: tuple[str, ...]
    known: frozenset[str]
    holders: dict[str, str]
    cursor: int
    is_all: bool


def read_news(reading: Reading, cursor: int, linked: frozenset[str], is_shared: bool) -> News:
    """Return what follows `cursor` in the feed, of the nodes `linked`."""
    try:
        changes = reading.changes(cursor, CHANGES_READ_MAX)
        nodes = {one.subject for one in changes if one.kind is ChangeKind.MANIFEST} & linked
        others = {one.subject for one in changes if one.kind in (ChangeKind.NODE, ChangeKind.LINK)} & linked
        cursor = changes[-1].number if changes else cursor
    except CursorTooOldError as error:
        changes, nodes, others, cursor = [], set(linked), set(linked), error.newest
    others = others if is_shared else set()
    found = {node: offer_of(reading, node) for node in sorted(nodes)}
    offers = {node: offer for node, offer in found.items() if offer is not None}
    known = frozenset(node for node in others if reading.node(node) is not None)
    links = {node: reading.link(node) for node in others}
    holders = {node: link.coordinator if link is not None else "" for node, link in links.items()}
    return News(offers, tuple(sorted(others)), known, holders, cursor, len(changes) < CHANGES_READ_MAX)
