"""Names of Rust symbols in both manglings, against names known from rustc's own documentation and tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.mcu.demangle import CHARACTERS_MAX, demangle


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
        ("_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
         "<Test + 'static as foo::Bar<Test>>::bar"),
        ("_ZN13test$u20$test4foob17h0123456789abcdefE", "test test::foob"),
        ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ("_RNvNtNtCs1234_7mycrate3foo3bar3baz", "mycrate::foo::bar::baz"),
        ("_RNCNvCs1234_7mycrate4main0B3_", "mycrate::main::{closure#0}"),
        ("_RNCNvCs1234_7mycrate4mains_0B3_", "mycrate::main::{closure#1}"),
        ("_RINvNtC3std3mem8align_ofjdE", "std::mem::align_of<usize, f64>"),
        ("_RNvMC4testNtB2_3Foo3new", "<test::Foo>::new"),
        ("_RNvXCs1234_7mycrateNtB2_3FooNtNtC4core3fmt7Display3fmt", "<mycrate::Foo as core::fmt::Display>::fmt"),
        ("_RNvYNtC4test3FooNtB4_3Bar1f", "<test::Foo as test::Bar>::f"),
        ("_RINvC4test1fRShE", "test::f<&[u8]>"),
        ("_RINvC4test1fQAhj20_E", "test::f<&mut [u8; 32]>"),
        ("_RINvC4test1fTlmEE", "test::f<(i32, u32)>"),
        ("_RINvC4test1fFUKCmEuE", 'test::f<unsafe extern "C" fn(u32)>'),
        ("_RINvC4test1fDNtC4core4SendEL_E", "test::f<dyn core::Send>"),
        ("_RINvC4test1fKb1_Kln7f_E", "test::f<true, -127>"),
        ("_RNqCs4fqI2P2rA04_11utf8_identsu30____7hkackfecea1cbdathfdh9hlq6y", "utf8_idents::საჭმელად_გემრიელი_სადილი"),
        ("_RNvCs1234_7mycrate3foo.llvm.1234", "mycrate::foo"),
        ("main", "main"), ("__aeabi_memcpy", "__aeabi_memcpy"), ("_ZN3foo", "_ZN3foo"), ("_R", "_R"), ("_RNv", "_RNv"),
        ("_ZSt4cout", "_ZSt4cout"),
    ],
)  # fmt: skip
def test_names(symbol: str, name: str) -> None:
    assert demangle(symbol) == name


@given(st.text("_RNZvCMXYIBEsu0123456789abcdefjkKLATSQRPOFD$.", max_size=60))
def test_no_symbol_fails_or_grows_without_bound(text: str) -> None:
    for symbol in (text, f"_R{text}", f"_ZN{text}"):
        assert len(demangle(symbol)) <= 2 * CHARACTERS_MAX


def test_references_cannot_make_a_symbol_endless() -> None:
    bomb = "_RINvC1a1f" + "T" + "TllllllllE" + "TBb_Bb_Bb_Bb_Bb_Bb_Bb_Bb_E" * 40 + "EE"
    assert len(demangle(bomb)) <= 2 * CHARACTERS_MAX
    assert demangle("_RB_") == "_RB_"
