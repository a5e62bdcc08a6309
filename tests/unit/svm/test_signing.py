"""Signatures: who signed, who is trusted, and what a change of one bit does."""

from __future__ import annotations

import hashlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from components import edwards
from eyeflow.svm.container import ProgramError, SignedProgram, attach_signatures, decode, encode
from eyeflow.svm.signing import check_signatures, fingerprint, message, public_key_of, sign_program
from generators.programs import random_program

OURS, THEIRS = bytes(range(32)), bytes(range(1, 33))
DATA = encode(random_program(random.Random(5)))


def test_public_key_is_that_of_rfc_8032() -> None:
    """RFC 8032, 7.1, test 1."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert public_key_of(secret).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_signers_are_the_trusted_ones() -> None:
    signed = decode(sign_program(sign_program(DATA, OURS), THEIRS))
    ours, theirs = public_key_of(OURS), public_key_of(THEIRS)
    assert check_signatures(signed, {ours}) == (ours,)
    assert set(check_signatures(signed, {ours, theirs})) == {ours, theirs}
    assert decode(DATA).program_id == signed.program_id


def test_signing_twice_with_one_key_keeps_one_signature() -> None:
    once = sign_program(DATA, OURS)
    assert sign_program(once, OURS) == once


def test_unsigned_and_foreign_programs_are_refused() -> None:
    with pytest.raises(ProgramError, match="is not signed") as unsigned:
        check_signatures(decode(DATA), {public_key_of(OURS)})
    assert unsigned.value.code == "unsigned"
    with pytest.raises(ProgramError, match=fingerprint(public_key_of(THEIRS))) as foreign:
        check_signatures(decode(sign_program(DATA, THEIRS)), {public_key_of(OURS)})
    assert foreign.value.code == "foreign_signature"


@pytest.mark.parametrize("place", ["program", "signature", "key"])
def test_one_changed_bit_is_noticed(place: str) -> None:
    signed = decode(sign_program(DATA, OURS))
    key, signature = signed.signatures[0]
    body = signed.signed_bytes
    if place == "program":
        body = body[:-1] + bytes([body[-1] ^ 1])
    elif place == "signature":
        signature = signature[:5] + bytes([signature[5] ^ 1]) + signature[6:]
    else:
        key = bytes([key[0] ^ 1]) + key[1:]
    changed = SignedProgram(signed.program, signed.program_id, ((key, signature),), body)
    with pytest.raises(ProgramError) as caught:
        check_signatures(changed, {key, public_key_of(OURS)})
    assert caught.value.code == "bad_signature"


def test_a_broken_signature_beside_a_good_one_is_refused() -> None:
    signed = decode(sign_program(DATA, OURS))
    both = (*signed.signatures, (public_key_of(THEIRS), bytes(64)))
    with pytest.raises(ProgramError, match="not valid"):
        check_signatures(SignedProgram(signed.program, "", both, signed.signed_bytes), {public_key_of(OURS)})


def test_fingerprint_names_a_key() -> None:
    key = public_key_of(OURS)
    assert fingerprint(key) == hashlib.sha256(key).hexdigest()[:16]
    with pytest.raises(ProgramError):
        fingerprint(b"short")


def test_a_signature_of_a_key_that_anybody_can_sign_with_is_refused() -> None:
    """The neutral point as key: R = [S]B fits every message, and OpenSSL alone would take it."""
    key, response = edwards.encode(edwards.NEUTRAL), 5
    forged = edwards.encode(edwards.times(response, edwards.BASE)) + response.to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(key).verify(forged, message(decode(DATA).signed_bytes))
    signed = decode(attach_signatures(decode(DATA).signed_bytes, ((key, forged),)))
    with pytest.raises(ProgramError) as caught:
        check_signatures(signed, {key})
    assert caught.value.code == "bad_signature"
