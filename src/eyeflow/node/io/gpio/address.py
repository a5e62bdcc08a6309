"""What a rule listens to on a pin: `DOOR changes`."""

from __future__ import annotations

EDGES = ("rises", "falls", "changes")


def split_address(address: str) -> tuple[str, str]:
    """Return pin and edge of an address `DOOR changes`."""
    pin, _, edge = address.partition(" ")
    return pin, edge
