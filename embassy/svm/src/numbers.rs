//! Exact float semantics without `std`: docs/svm.md, Numbers.

use crate::isa::Trap;

const SIGN: u64 = 1 << 63;
const INTEGRAL_FROM: f64 = 4_503_599_627_370_496.0;
/// 2^63, the first float above every int.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
const FRACTION_BITS: u32 = 52;
const EXPONENT_BIAS: i32 = 1023;

/// The magnitude of a float: its sign bit cleared.
pub(crate) fn magnitude(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & !SIGN)
}

fn with_sign_of(value: f64, sign: f64) -> f64 {
    f64::from_bits(value.to_bits() & !SIGN | sign.to_bits() & SIGN)
}

/// Whether a float has no fraction because of its size, or is no number.
fn is_integral(value: f64) -> bool {
    magnitude(value) >= INTEGRAL_FROM || value.is_nan()
}

/// Toward minus infinity; keeps -0.0, infinities and NaN.
pub(crate) fn floor(value: f64) -> f64 {
    if is_integral(value) {
        return value;
    }
    let whole = value as i64 as f64;
    with_sign_of(if whole > value { whole - 1.0 } else { whole }, value)
}

/// Toward plus infinity; of (-1, 0) it is -0.0.
pub(crate) fn ceil(value: f64) -> f64 {
    -floor(-value)
}

/// To the nearest integral float, ties away from zero, the sign of zero kept.
pub(crate) fn round(value: f64) -> f64 {
    let size = magnitude(value);
    if is_integral(value) {
        return value;
    }
    let whole = size as i64 as f64;
    with_sign_of(if size - whole >= 0.5 { whole + 1.0 } else { whole }, value)
}

/// The correctly rounded square root, digit by digit: 54 bits of the root, then rounded to 53.
pub(crate) fn sqrt(value: f64) -> f64 {
    if value == 0.0 || value.is_nan() || value == f64::INFINITY {
        return value;
    }
    if value < 0.0 {
        return f64::NAN;
    }
    let (mut fraction, mut exponent) = split(value);
    if exponent & 1 != 0 {
        fraction <<= 1;
        exponent -= 1;
    }
    let mut root: u64 = 0;
    let mut rest: u64 = 0;
    // fraction has 54 bits at most; its root with 54 bits takes 108: the missing ones are zeros.
    for _ in 0..54 {
        rest = rest << 2 | fraction >> 52 & 3;
        fraction = (fraction << 2) & ((1 << 54) - 1);
        let trial = root << 2 | 1;
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
fn split(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let biased = (bits >> FRACTION_BITS) as i32;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    if biased != 0 {
        return (fraction | 1 << FRACTION_BITS, biased - EXPONENT_BIAS);
    }
    let shift = fraction.leading_zeros() - 11;
    (fraction << shift, 1 - EXPONENT_BIAS - shift as i32)
}

/// Toward zero; traps CONVERT_RANGE for NaN, infinities and what does not fit.
pub(crate) fn to_int(value: f64) -> Result<i64, Trap> {
    if (-INT_END..INT_END).contains(&value) { Ok(value as i64) } else { Err(Trap::ConvertRange) }
}

/// A non-negative float below 2^63 to the nearest integer, ties to even.
pub(crate) fn to_nearest_even(value: f64) -> u64 {
    let whole = value as u64;
    let left = value - whole as f64;
    if left > 0.5 || (left == 0.5 && whole & 1 == 1) { whole + 1 } else { whole }
}

/// The difference of two times in us as a float of us, rounded once.
pub(crate) fn float_between(newest: i64, oldest: i64) -> f64 {
    let size = newest.abs_diff(oldest) as f64;
    if newest < oldest { -size } else { size }
}

/// Whether at least `span` lies between `since` and `time`, a time of an event (never negative): without overflow.
pub(crate) fn has_passed(time: i64, since: i64, span: i64) -> bool {
    time.checked_sub(since).is_none_or(|gone| gone >= span)
}
