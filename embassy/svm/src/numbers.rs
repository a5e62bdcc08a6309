//! Orders and conversions of numbers: docs/svm.md, Numbers.

use crate::float::{self, SIGN, exponent, whole};
use crate::isa::Trap;
use crate::value::is_nan;

/// The exponent from which on a float does not fit 63 bits.
const INT_EXPONENT: i32 = 63;
const INT_MIN_BITS: u64 = 0xC3E0_0000_0000_0000;

/// An order: lower less than top, equal, or greater; 0 when either is a NaN. As bits, so that a comparison is a mask.
pub(crate) const LESS: u8 = 1;
pub(crate) const EQUAL: u8 = 2;
pub(crate) const GREATER: u8 = 4;

/// The order of two ints.
#[inline(never)]
pub(crate) fn order_int(lower: i64, top: i64) -> u8 {
    if lower < top {
        LESS
    } else if lower == top {
        EQUAL
    } else {
        GREATER
    }
}

/// The order of the floats in two words.
#[inline(never)]
pub(crate) fn order_float(lower: u64, top: u64) -> u8 {
    if is_nan(lower) || is_nan(top) {
        return 0;
    }
    order_int(key(lower), key(top))
}

/// An int in the order of the floats; the zeros are the same.
fn key(word: u64) -> i64 {
    let size = (word & !SIGN) as i64;
    if word & SIGN == 0 { size } else { -size }
}

/// Whether the magnitude of a float is less than 2^63.
pub(crate) fn is_small(word: u64) -> bool {
    exponent(word) < INT_EXPONENT
}

/// Toward zero; traps CONVERT_RANGE for NaN, infinities and what does not fit.
pub(crate) fn to_int(word: u64) -> Result<u64, Trap> {
    if word == INT_MIN_BITS {
        return Ok(i64::MIN as u64);
    }
    if !is_small(word) {
        return Err(Trap::ConvertRange);
    }
    let size = whole(word, false);
    Ok(if word & SIGN == 0 { size } else { size.wrapping_neg() })
}

/// The difference of two times in us as a float of us, rounded once.
pub(crate) fn float_between(newest: i64, oldest: i64) -> u64 {
    let size = newest.abs_diff(oldest);
    float::of_size(if newest < oldest { SIGN } else { 0 }, size)
}

/// Whether at least `span` lies between `since` and `time`, a time of an event (never negative): without overflow.
#[inline(never)]
pub(crate) fn has_passed(time: i64, since: i64, span: i64) -> bool {
    time.checked_sub(since).is_none_or(|gone| gone >= span)
}
