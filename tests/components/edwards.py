"""Edwards25519 and Ed25519 in plain integers, RFC 8032: slow, and independent of everything that is tested with it."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Affine = tuple[int, int]
NEUTRAL: Affine = (0, 1)


def plus(one: Affine, other: Affine) -> Affine:
    """Return the sum of two points, RFC 8032, 5.1.4."""
    (x, y), (u, v) = one, other
    product = D * x * y * u * v % P
    return (
        (x * v + u * y) * pow(1 + product, -1, P) % P,
        (y * v + x * u) * pow(1 - product, -1, P) % P,
    )


def times(number: int, point: Affine) -> Affine:
    """Return a point so many times, as fractions with one denominator, so that there is one inversion in all."""
    x, y, z = 0, 1, 1
    for bit in bin(number)[2:]:
        x, y, z = _plus((x, y, z), (x, y, z))
        if bit == "1":
            x, y, z = _plus((x, y, z), (*point, 1))
    inverse = pow(z, -1, P)
    return x * inverse % P, y * inverse % P


def _plus(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    """Add x/z and y/z: Bernstein, Birkner, Joye, Lange, Peters, Twisted Edwards Curves, 2008, section 6."""
    (x, y, z), (u, v, w) = one, other
    a, c, d = z * w % P, x * u % P, y * v % P
    b, e = a * a % P, D * c * d % P
    f, g = b - e, b + e
    return a * f * ((x + y) * (u + v) - c - d) % P, a * g * (d + c) % P, f * g % P


def negated(point: Affine) -> Affine:
    """Return the point on the other side."""
    return -point[0] % P, point[1]


def x_of(y: int, odd: int) -> int | None:
    """Return x of the point with this y and parity of x, or None where there is none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and odd):
        return None
    return x if x % 2 == odd else P - x


def encode(point: Affine) -> bytes:
    """Return the one form of a point."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Affine | None:
    """Return the point in its one form, or None."""
    number = int.from_bytes(data, "little")
    y, odd = number & (1 << 255) - 1, number >> 255
    x = x_of(y, odd) if y < P else None
    return None if x is None else (x, y)


BASE_Y = 4 * pow(5, -1, P) % P
BASE: Affine = (x_of(BASE_Y, 0) or 0, BASE_Y)


def torsion() -> list[Affine]:
    """Return the eight points of small order."""
    y = 2
    while True:
        x = x_of(y, 0)
        point = times(L, (x, y)) if x is not None else NEUTRAL
        if times(4, point) != NEUTRAL:
            return [times(k, point) for k in range(8)]
        y += 1


def challenge(commitment: bytes, key: bytes, message: bytes) -> int:
    """Return k of RFC 8032, 5.1.7."""
    return int.from_bytes(hashlib.sha512(commitment + key + message).digest(), "little") % L


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Verify without the cofactor, one form of everything, and no key of small order."""
    point, response = decode(key), int.from_bytes(signature[32:], "little")
    if point is None or times(8, point) == NEUTRAL or response >= L:
        return False
    product = times(challenge(signature[:32], key, message), negated(point))
    return encode(plus(times(response, BASE), product)) == signature[:32]


def sign_with(secret: int, nonce: int, key: bytes, message: bytes, more: Affine = NEUTRAL) -> bytes:
    """Sign with plain numbers; `more` is added to the commitment, as only a forger does."""
    commitment = encode(plus(times(nonce, BASE), more))
    response = (nonce + challenge(commitment, key, message) * secret) % L
    return commitment + response.to_bytes(32, "little")
