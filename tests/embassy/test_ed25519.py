"""The board's own check of Ed25519 signatures against OpenSSL and against plain integers: honest, mutated and malicious."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from itertools import product

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from components import edwards as e
from components.rust import rust_example
from eyeflow.svm.signing import is_strong_key

HONEST = 2000
MUTANTS = 4000
SEED = 8032

Case = tuple[bytes, bytes, bytes]
"""Key, signature, message."""


def board(cases: list[Case]) -> list[bool]:
    """Return what the board's code says of each case."""
    lines = "".join(f"{key.hex()} {signature.hex()} {message.hex()}\n" for key, signature, message in cases)
    command = [str(rust_example("eyeflow-ed25519", "check"))]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split()
    assert len(answers) == len(cases) and set(answers) <= {"good", "bad"}
    return [answer == "good" for answer in answers]


def openssl(case: Case) -> bool:
    key, signature, message = case
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def pc(case: Case) -> bool:
    """Return what `eyeflow.svm.signing` says on the PC."""
    return is_strong_key(case[0]) and openssl(case)


def honest(count: int, rng: random.Random) -> list[Case]:
    cases = []
    for number in range(count):
        private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        # Every length up to some blocks of SHA-512, whose padding is of the board's own making.
        message = rng.randbytes(number % 400)
        cases.append((private.public_key().public_bytes_raw(), private.sign(message), message))
    return cases


def test_every_honest_signature_is_good_on_the_board() -> None:
    cases = honest(HONEST, random.Random(SEED))
    assert all(board(cases))
    assert all(pc(case) for case in cases)


def mutant(case: Case, rng: random.Random) -> Case:
    """Return a case with a bit flipped, a byte replaced, a half exchanged, or S moved by the group order."""
    key, signature, message = case
    response = int.from_bytes(signature[32:], "little")
    match rng.randrange(5):
        case 0:
            return flipped(key, rng), signature, message
        case 1:
            return key, flipped(signature, rng), message
        case 2:
            return key, signature, flipped(message, rng) if message else b"\0"
        case 3:
            return key, signature[32:] + signature[:32], message
        case _:
            moved = response + rng.randrange(1, 15) * e.L
            return key, signature[:32] + moved.to_bytes(32, "little"), message


def flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(8 * len(data))
    return bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(data))


def test_every_mutated_signature_is_bad_on_the_board() -> None:
    rng = random.Random(SEED + 1)
    cases = [mutant(case, rng) for case in honest(MUTANTS, rng)]
    assert not any(board(cases))
    assert not any(pc(case) for case in cases)


def forms(point: e.Affine) -> set[bytes]:
    """Return every encoding of a point that a lenient decoder takes: y with p added, and the sign of an x that is 0."""
    x, y = point
    ys = [y] + ([y + e.P] if y + e.P < 1 << 255 else [])
    signs = [x & 1] if x else [0, 1]
    return {(one | sign << 255).to_bytes(32, "little") for one, sign in product(ys, signs)}


def malicious() -> Iterator[Case]:
    """Keys and commitments of small and of mixed order in every form, with S that fits with or without the cofactor.

    After Chalkias, Garillot, Nikolaenko, Taming the many EdDSAs, 2020, section 5, and more of each kind.
    """
    rng = random.Random(SEED + 2)
    torsion = e.torsion()
    small = [form for point in torsion for form in sorted(forms(point))]
    for key, commitment, response in product(small, small, (0, 1, e.L - 1, e.L)):
        shifted = e.encode(e.plus(e.times(response, e.BASE), e.decode(commitment) or e.NEUTRAL))
        for first in {commitment, shifted}:
            yield key, first + response.to_bytes(32, "little"), rng.randbytes(8)
    for key_part, commitment_part in product(torsion, torsion):
        secret, nonce = rng.randrange(1, e.L), rng.randrange(1, e.L)
        key = e.encode(e.plus(e.times(secret, e.BASE), key_part))
        for _ in range(8):
            message = rng.randbytes(4)
            yield key, e.sign_with(secret, nonce, key, message, commitment_part), message
    for key in small:
        secret, nonce = rng.randrange(1, e.L), rng.randrange(1, e.L)
        for commitment_part in torsion:
            yield key, e.sign_with(secret, nonce, key, b"", commitment_part), b""


def test_the_board_the_pc_and_plain_integers_agree_on_malicious_signatures() -> None:
    cases = list(malicious())
    wanted = [e.verify(key, message, signature) for key, signature, message in cases]
    found = board(cases)
    for case, good, on_board in zip(cases, wanted, found, strict=True):
        assert on_board == good == pc(case), [part.hex() for part in case]
    # Mixed order: good when the parts of small order cancel out, so both answers must be there.
    assert 50 < sum(wanted) < len(wanted) - 1000


def test_openssl_alone_would_let_anybody_sign_with_a_weak_key() -> None:
    """The control: without `is_strong_key` and the board's own rule such keys would be as good as none."""
    cases = list(malicious())
    forged = [case for case in cases if openssl(case) and not is_strong_key(case[0])]
    assert len({key for key, _, _ in forged}) > 5
    assert (bytes(32)) in {key for key, _, _ in forged}, "all zeros"
    assert not any(board(forged))


def test_weak_keys_are_the_points_of_small_order_in_every_form() -> None:
    weak = {form for point in e.torsion() for form in forms(point)}
    assert not any(is_strong_key(key) for key in weak)
    assert not is_strong_key(e.P.to_bytes(32, "little")) and not is_strong_key(bytes([255]) * 32)
    assert not is_strong_key(bytes(31))
    assert all(is_strong_key(key) for key, _, _ in honest(50, random.Random(SEED + 3)))
