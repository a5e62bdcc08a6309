"""Which program acts on an event: a stable share of the keys, or of the nodes where events have no key.

Both grow only: what is in the share at 10 % is in it at 50 %. So a step of a canary takes no key from the candidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

WHOLE = 10_000
"""A share is a whole number of hundredths of a percent: this is all."""


def route(rule: str, key: str) -> int:
    """Return where a key of a rule stands, 0 to 9999: the candidate acts on it if this is below the share.

    The first 8 bytes of SHA-256 (FIPS 180-4) over rule, a zero byte and key, big-endian, modulo 10,000. The same on
    each node and in each version: two programs would act on one key otherwise.
    """
    return _hash(rule, key) % WHOLE


def chosen(rule: str, nodes: Iterable[str], share: int) -> frozenset[str]:
    """Return the nodes on which the candidate acts on events without a key: the nearest number to `share` of them.

    At least one when `share` is above 0. A node that is chosen at a share is chosen at each greater one.
    Raises ValueError for a share outside of 0 to 10,000.
    """
    if not 0 <= share <= WHOLE:
        raise ValueError(f"a share is 0 to {WHOLE}, not {share}")
    ranked = sorted(set(nodes), key=lambda node: (route(rule, node), _hash(rule, node), node))
    count = (share * len(ranked) + WHOLE // 2) // WHOLE
    return frozenset(ranked[: max(1, count) if share else 0])


def _hash(rule: str, key: str) -> int:
    # A key may come from the outside: half of a surrogate pair must not stop the node.
    digest = sha256(f"{rule}\0{key}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
