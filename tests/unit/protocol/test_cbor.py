"""What `encode` writes is what cbor2 writes in its canonical form, which is another's reading of RFC 8949."""

from __future__ import annotations

import math
import struct

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.protocol.cbor import INT_MAX, INT_MIN, CborError, decode, encode, encode_fields

SINGLES = st.floats(width=32) | st.floats(width=16)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats()
    | SINGLES
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.integers(0, INT_MAX), inner, max_size=30)
    ),
    max_leaves=40,
)


@settings(max_examples=500)
@given(VALUES)
def test_every_value_is_written_as_cbor2_writes_it(value: object) -> None:
    assert encode(value) == cbor2.dumps(value, canonical=True)
    assert encode(decode(encode(value))) == encode(value)


@pytest.mark.parametrize("bits", [*range(0, 64, 7), 8, 16, 32, 63, 64])
def test_integers_at_the_bounds_of_each_length_are_written_as_cbor2_writes_them(bits: int) -> None:
    near = {2**bits + step for step in (-2, -1, 0, 1) if 2**bits + step <= INT_MAX} | {23, 24}
    for number in (*near, *(-1 - one for one in near)):
        assert encode(number) == cbor2.dumps(number, canonical=True), number


@pytest.mark.parametrize(
    "value",
    [
        *(0.0, 65504.0, 65505.0, 65520.0, 2.0**-24, 2.0**-25, 3.4028234663852886e38, 3.4028235677973366e38, 1e39),
        *(math.inf, 2.0**-149, 2.0**-150, 5e-324, 0.1, struct.unpack(">f", b"\x3d\xcc\xcc\xcd")[0]),
    ],
)
def test_floats_at_the_bounds_of_each_length_are_written_as_cbor2_writes_them(value: float) -> None:
    assert encode(value) == cbor2.dumps(value, canonical=True)
    assert encode(-value) == cbor2.dumps(-value, canonical=True)


def test_fields_are_a_map() -> None:
    assert encode_fields([(encode(1), "x"), (encode(300), [None])]) == encode({1: "x", 300: [None]})
    with pytest.raises(CborError, match="a set has no place here"):
        encode_fields([(encode(1), set())])
    with pytest.raises(CborError, match="nested deeper"):
        encode_fields([(encode(1), [[]])], depth=2)
