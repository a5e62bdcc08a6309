//! Exact float semantics without `std`: docs/svm.md, Numbers. On bits where that is smaller than soft-float.

use crate::isa::Trap;
use crate::value::is_nan;

const SIGN: u64 = 1 << 63;
const FRACTION_BITS: i32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT_BIAS: i32 = 1023;
const EXPONENT: i32 = 0x7FF;
/// The exponent from which on a float does not fit 63 bits.
const INT_EXPONENT: i32 = 63;
const INT_MIN_BITS: u64 = 0xC3E0_0000_0000_0000;
const HALF: f64 = 0.5;

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

/// The magnitude of a float: its sign bit cleared.
pub(crate) fn magnitude(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & !SIGN)
}

fn exponent(word: u64) -> i32 {
    ((word >> FRACTION_BITS) as i32 & EXPONENT) - EXPONENT_BIAS
}

/// Toward zero, to an integral float; keeps the sign, infinities and NaN.
#[inline(never)]
fn trunc(value: f64) -> f64 {
    let word = value.to_bits();
    let size = exponent(word);
    let kept = match size {
        FRACTION_BITS.. => u64::MAX,
        0.. => !(FRACTION >> size),
        _ => SIGN,
    };
    f64::from_bits(word & kept)
}

/// Toward minus infinity; keeps -0.0, infinities and NaN.
#[inline(never)]
pub(crate) fn floor(value: f64) -> f64 {
    let whole = trunc(value);
    let below = value.to_bits() & SIGN != 0 && whole.to_bits() != value.to_bits();
    if below { whole - 1.0 } else { whole }
}

/// Toward plus infinity; of (-1, 0) it is -0.0.
pub(crate) fn ceil(value: f64) -> f64 {
    -floor(-value)
}

/// To the nearest integral float, ties away from zero, the sign of zero kept.
pub(crate) fn round(value: f64) -> f64 {
    let whole = trunc(value);
    let left = magnitude(value - whole);
    let one = f64::from_bits(1.0_f64.to_bits() | value.to_bits() & SIGN);
    if order_float(HALF.to_bits(), left.to_bits()) & (LESS | EQUAL) != 0 { whole + one } else { whole }
}

/// The correctly rounded square root, digit by digit: 54 bits of the root, then rounded to 53.
pub(crate) fn sqrt(value: f64) -> f64 {
    let word = value.to_bits();
    if word << 1 == 0 || word == f64::INFINITY.to_bits() {
        return value;
    }
    if word & SIGN != 0 || is_nan(word) {
        return f64::NAN;
    }
    let (mut fraction, mut exponent) = split(word);
    if exponent & 1 != 0 {
        fraction <<= 1;
        exponent -= 1;
    }
    let mut root: u64 = 0;
    let mut rest: u64 = 0;
    // The fraction has 54 bits; a root of 54 bits takes 108: the missing ones are zeros.
    for _ in 0..54 {
        rest = (rest << 2) | (fraction >> 52) & 3;
        fraction = (fraction << 2) & ((1 << 54) - 1);
        let trial = (root << 2) | 1;
        root <<= 1;
        if rest >= trial {
            rest -= trial;
            root |= 1;
        }
    }
    let rounded = (root + 1) >> 1;
    let biased = (exponent / 2 + EXPONENT_BIAS) as u64;
    f64::from_bits((biased << FRACTION_BITS) + (rounded - (1 << FRACTION_BITS)))
}

/// A positive finite float as fraction (53 bits, the highest set) and exponent: fraction / 2^52 * 2^exponent.
fn split(word: u64) -> (u64, i32) {
    let (mut fraction, mut size) = (word & FRACTION, exponent(word));
    if size > -EXPONENT_BIAS {
        return (fraction | (FRACTION + 1), size);
    }
    size += 1;
    while fraction <= FRACTION {
        fraction <<= 1;
        size -= 1;
    }
    (fraction, size)
}

/// The magnitude of a float below 2^63 as an integer, and twice what is left: of the half 1 or more, ties 1 exactly.
///
/// `nearest` rounds ties to even, else toward zero.
#[inline(never)]
pub(crate) fn whole(word: u64, nearest: bool) -> u64 {
    let size = exponent(word);
    let fraction = word & FRACTION | (FRACTION + 1);
    if size >= FRACTION_BITS {
        return fraction << (size - FRACTION_BITS);
    }
    if size < -1 {
        return 0;
    }
    let shift = FRACTION_BITS - size;
    let result = fraction >> shift;
    let left = fraction & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    result + u64::from(nearest && (left > half || left == half && result & 1 == 1))
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
pub(crate) fn float_between(newest: i64, oldest: i64) -> f64 {
    let size = newest.abs_diff(oldest) as f64;
    if newest < oldest { -size } else { size }
}

/// Whether at least `span` lies between `since` and `time`, a time of an event (never negative): without overflow.
#[inline(never)]
pub(crate) fn has_passed(time: i64, since: i64, span: i64) -> bool {
    time.checked_sub(since).is_none_or(|gone| gone >= span)
}

/// A magnitude with a sign as an int; traps INT_OVERFLOW when it does not fit.
#[inline(never)]
pub(crate) fn signed(size: u64, negative: bool) -> Result<u64, Trap> {
    let most = i64::MAX as u64 + u64::from(negative);
    if size > most {
        return Err(Trap::IntOverflow);
    }
    Ok(if negative { size.wrapping_neg() } else { size })
}
