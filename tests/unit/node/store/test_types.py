"""On what terms a stored program runs: only a candidate has a share of the events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eyeflow.node.store.types import Actuation, Standing, Terms
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import slot

TRIAL = Trial(60, 20, 500, 3, True)


@pytest.mark.parametrize("place", Slot)
@pytest.mark.parametrize("terms", [Terms(Standing.PASSED, TRIAL, 1_000), Terms(Standing.ON_TRIAL, None, 0, True)])
def test_a_program_takes_over_its_terms_and_a_candidate_its_share(place: Slot, terms: Terms) -> None:
    row = replace(slot("pump", place, {"limit": 1.5}), share=7, keyless=False)
    is_candidate = place is Slot.CANDIDATE
    assert row.on(terms) == replace(
        row,
        standing=terms.standing,
        trial=terms.trial,
        share=terms.share if is_candidate else 0,
        keyless=terms.keyless and is_candidate,
    )


@pytest.mark.parametrize(
    ("place", "share", "keyless", "actuation"),
    [
        (Slot.CANDIDATE, 0, False, Actuation.WITHHOLD),
        (Slot.CANDIDATE, 1, False, Actuation.PERFORM),
        (Slot.CANDIDATE, 0, True, Actuation.PERFORM),
        (Slot.ACTIVE, 0, False, Actuation.PERFORM),
    ],
)
def test_a_candidate_without_a_share_only_watches(place: Slot, share: int, keyless: bool, actuation: Actuation) -> None:
    assert replace(slot("pump", place), share=share, keyless=keyless).actuation is actuation
