"""Lists of signers: only the root makes one, versions only grow, and each attack has a control that passes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.protocol.identity import Identity
from eyeflow.protocol.signer_list import (
    THRESHOLDS_MAX,
    VERSION_MAX,
    RootTrust,
    SignerList,
    SignerListError,
    Threshold,
    make_list,
    needed_signers,
    parse_list,
)
from eyeflow.protocol.wire import SIGNERS_MAX

ROOT, THIEF = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
ANNA, BEN = (Identity(bytes([number]) * 32).public_key for number in (5, 6))


def signed(
    version: int = 1,
    *signers: bytes,
    root: Identity = ROOT,
    expires_us: int = 0,
    thresholds: tuple[Threshold, ...] = (),
) -> SignerList:
    return make_list(version, 10, expires_us, signers or (ANNA,), root.public_key, root.sign, thresholds)


def trusting(*lists: SignerList) -> RootTrust:
    made = RootTrust([ROOT.public_key])
    for one in lists:
        made.take(one.text())
    return made


def test_a_list_is_read_as_it_was_made() -> None:
    made = signed(3, BEN, ANNA, ANNA, expires_us=99)
    assert parse_list(made.text()) == made and made.signers == tuple(sorted({ANNA, BEN}))
    assert signed(1, expires_us=1).is_expired(1)
    assert not made.is_expired(98) and made.is_expired(99) and not signed().is_expired(10**18)


TWO = Threshold(2, "node-*", "pump?", (("line", "2"), ("site", "lyon")))
PLAIN_TWO = {"signers": 2, "nodes": "node-*", "rules": "pump?", "labels": {"line": "2", "site": "lyon"}}


def test_a_list_with_thresholds_is_read_as_it_was_made_and_one_without_is_what_it_was() -> None:
    made = signed(3, BEN, ANNA, thresholds=(TWO, Threshold(3), TWO))
    assert parse_list(made.text()) == made and made.thresholds == (TWO, Threshold(3))
    assert json.loads(made.text())["thresholds"][0] == PLAIN_TWO
    assert "thresholds" not in json.loads(signed().text())
    assert signed().signed_bytes.startswith(b"eyeflow signers v1\0")


ALTERED: dict[str, Any] = {
    "none": None,
    "fewer signers": [PLAIN_TWO | {"signers": 3}],
    "another node": [PLAIN_TWO | {"nodes": "x"}],
    "another rule": [PLAIN_TWO | {"rules": "x"}],
    "one label less": [PLAIN_TWO | {"labels": {"site": "lyon"}}],
    "one more": [PLAIN_TWO, PLAIN_TWO | {"signers": 3}],
    "an empty list": [],
    "twice": [PLAIN_TWO, PLAIN_TWO],
    "no list": PLAIN_TWO,
    "a number": 7,
    "one signer": [PLAIN_TWO | {"signers": 1}],
    "more than a program carries": [PLAIN_TWO | {"signers": 5}],
    "no number": [PLAIN_TWO | {"signers": True}],
    "no pattern": [PLAIN_TWO | {"rules": "a[b]"}],
    "no text": [PLAIN_TWO | {"nodes": 7}],
    "labels out of order": [PLAIN_TWO | {"labels": {"site": "lyon", "line": "2"}}],
    "a label that is none": [PLAIN_TWO | {"labels": {"Site": "lyon"}}],
    "a label of a number": [PLAIN_TWO | {"labels": {"site": 2}}],
    "one field more": [PLAIN_TWO | {"x": 1}],
    "one field less": [{"signers": 2}],
    "too many": [PLAIN_TWO | {"rules": f"r{number:03}"} for number in range(THRESHOLDS_MAX + 1)],
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_changed_threshold_is_refused(name: str) -> None:
    plain = json.loads(signed(2, thresholds=(TWO,)).text())
    parse_list(json.dumps(plain))
    changed = plain | {"thresholds": ALTERED[name]}
    if ALTERED[name] is None:  # the coordinator takes it out
        del changed["thresholds"]
    with pytest.raises(SignerListError):
        parse_list(json.dumps(changed))


def test_thresholds_hold_for_what_matches_and_the_highest_counts() -> None:
    lyon = {"site": "lyon", "line": "2", "x": "y"}
    trust = trusting(signed(1, thresholds=(TWO, Threshold(3, rules="pump1"))))
    here = trust.thresholds("node-a", lyon)
    assert [needed_signers(here, rule) for rule in ("pump1", "pump2", "pump", "fan")] == [3, 2, 1, 1]
    assert needed_signers(trust.thresholds("node-a", {"site": "lyon"}), "pump2") == 1, "all labels"
    assert needed_signers(trust.thresholds("gate", lyon), "pump2") == 1
    assert trusting().thresholds("node-a", lyon) == ()


@given(data=st.data())
def test_any_change_of_a_list_is_refused(data: st.DataObject) -> None:
    plain: dict[str, Any] = json.loads(signed(2, ANNA, BEN, expires_us=50).text())
    name = data.draw(st.sampled_from(sorted(plain)))
    if name == "signers":
        new: Any = data.draw(
            st.sampled_from([plain[name][:1], [*plain[name], "ff" * 32], plain[name][::-1], [], "x", [1]])
        )
    elif isinstance(plain[name], int):
        new = data.draw(
            st.sampled_from([plain[name] + 1, 0, -1, True, 1.5, "1", None, 2**60]).filter(
                lambda one: one is not plain[name]
            )
        )
    else:
        at = data.draw(st.integers(0, len(plain[name]) - 1))
        digit = "0" if plain[name][at] != "0" else "1"
        new = data.draw(
            st.sampled_from([plain[name][:at] + digit + plain[name][at + 1 :], plain[name].upper() + "a", "", 7])
        )
    with pytest.raises(SignerListError):
        parse_list(json.dumps(plain | {name: new}))


def forged(**changes: Any) -> str:
    """A list that the root signed, though no command makes it."""
    one = replace(signed(2, ANNA, BEN), **changes)
    return replace(one, signature=ROOT.sign(one.signed_bytes)).text()


KEYS = tuple(sorted({Identity(number.to_bytes(32, "big")).public_key for number in range(1, SIGNERS_MAX + 2)}))
TWOS = tuple(sorted(Threshold(2, rules=f"r{number}") for number in range(THRESHOLDS_MAX)))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"signers": KEYS[1::-1]},
        {"signers": KEYS[:1] * 2},
        {"signers": KEYS},
        {"version": VERSION_MAX + 1},
        {"thresholds": TWOS[1::-1]},
        {"thresholds": TWOS[:1] * 2},
    ],
)
def test_what_is_out_of_order_or_bounds_is_refused_even_by_the_root(changes: dict[str, Any]) -> None:
    with pytest.raises(SignerListError):
        parse_list(forged(**changes))


@pytest.mark.parametrize("changes", [{"signers": KEYS[:-1]}, {"version": VERSION_MAX}, {"thresholds": TWOS}])
def test_the_bounds_themselves_are_allowed(changes: dict[str, Any]) -> None:
    made = parse_list(forged(**changes))
    assert [getattr(made, name) for name in changes] == list(changes.values())


def test_a_list_has_one_text() -> None:
    text = signed(1, ANNA, BEN).text()
    plain = json.loads(text)
    assert text == json.dumps(plain, indent=1) + "\n"
    assert parse_list(text.encode()) == parse_list(text)
    others = [text.replace('"version": 1', '"version": 1, "version": 1'), json.dumps(plain | {"thresholds": []})]
    others += [json.dumps(plain | {name: plain[name].upper()}) for name in ("root", "signature")]
    others += [
        json.dumps(plain | {"signers": signers}) for signers in (7, None, [key.upper() for key in plain["signers"]])
    ]
    for other in others:
        with pytest.raises(SignerListError):
            parse_list(other)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{", '{"version": 1}', "\xff"])
def test_another_text_is_no_list(text: str) -> None:
    with pytest.raises(SignerListError):
        parse_list(text)


ATTACKS = {
    "a list of the thief": (signed(9, THIEF.public_key, root=THIEF), "does not know"),
    "an older list (rollback)": (signed(4, BEN), "older"),
    "another list of the same version (mix and match)": (signed(5, BEN), "differs"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_changes_nothing(name: str) -> None:
    attack, words = ATTACKS[name]
    trust = trusting(signed(5, ANNA))
    with pytest.raises(SignerListError, match=words):
        trust.take(attack.text())
    assert trust.allowed([ANNA, BEN, THIEF.public_key]) == {ANNA}
    assert not trust.take(signed(5, ANNA).text()), "the same again is nothing new"
    assert trust.take(signed(6, BEN).text()), "the control: a newer one of the root"
    assert trust.allowed([ANNA, BEN, THIEF.public_key]) == {BEN}


def test_a_new_root_goes_on_with_the_versions_of_the_old_one() -> None:
    trust = RootTrust([ROOT.public_key, THIEF.public_key])
    assert trust.take(signed(5, ANNA).text())
    assert trust.take(signed(6, BEN, root=THIEF).text())
    with pytest.raises(SignerListError, match="older"):
        trust.take(signed(5, ANNA).text())
    assert trust.allowed([ANNA, BEN]) == {BEN}


def test_without_a_root_the_coordinator_says_and_with_one_and_no_list_nobody_is_trusted() -> None:
    assert RootTrust([]).allowed([ANNA, BEN]) == {ANNA, BEN}
    assert trusting().allowed([ANNA, BEN]) == set()
    assert trusting(signed(1, ANNA, BEN)).allowed([BEN]) == {BEN}, "the coordinator may trust fewer"


def test_an_expired_list_lets_nothing_new_come() -> None:
    trust = trusting(signed(1, ANNA, expires_us=50))
    assert trust.refusal(49) == "" and "expired" in trust.refusal(50)
    assert trust.allowed([ANNA]) == {ANNA}, "what runs, runs on"
    assert RootTrust([]).refusal(10**18) == "" == trusting().refusal(1)
