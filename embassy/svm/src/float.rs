//! IEEE 754 binary64 on bits: docs/svm.md, Numbers. A third of the size of the soft-float that the compiler links for a
//! Cortex-M0+ and a Cortex-M4F, because sum, product, quotient, root and conversion share unpacking and rounding.

use crate::value::{NAN_BITS, is_nan};

pub(crate) const SIGN: u64 = 1 << 63;
pub(crate) const INFINITY: u64 = 0x7FF << FRACTION_BITS;
pub(crate) const ONE: u64 = 1023 << FRACTION_BITS;
const FRACTION_BITS: i32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const BIAS: i32 = 1023;
const EXPONENT: i32 = 0x7FF;
/// What a packed float drops of a fraction of 64 bits.
const DROPPED_BITS: i32 = 11;
const DROPPED_HALF: u32 = 1 << (DROPPED_BITS - 1);
/// A sum has one bit more than its operands.
const SUM_BITS: i32 = DROPPED_BITS - 1;
/// Bits of a quotient and of a root: 53, one to round, one more for a quotient below 1.
const DIGITS: i32 = 55;

/// The exponent of a float, unbiased: 1,024 of infinities and NaN, -1,023 of zero and subnormals.
pub(crate) fn exponent(word: u64) -> i32 {
    ((word >> 32) as i32 >> (FRACTION_BITS - 32) & EXPONENT) - BIAS
}

/// A finite float as fraction and exponent: fraction / 2^52 * 2^exponent. The highest bit is set unless it is zero.
#[inline(never)]
fn unpack(word: u64) -> (u64, i32) {
    let (fraction, size) = (word & FRACTION, exponent(word));
    if size > -BIAS {
        return (fraction | (FRACTION + 1), size);
    }
    let zeros = fraction.leading_zeros() as i32 - DROPPED_BITS;
    (fraction << zeros, size + 1 - zeros)
}

/// Shift right; the lowest bit remembers what was lost.
fn shifted(fraction: u64, count: i32) -> u64 {
    if count > 63 {
        return u64::from(fraction != 0);
    }
    let kept = fraction >> count;
    kept | u64::from(kept << count != fraction)
}

/// The float next to fraction / 2^63 * 2^size, ties to even; the lowest bit stands for all that are lost.
#[inline(never)]
fn pack(sign: u64, size: i32, fraction: u64) -> u64 {
    if fraction == 0 {
        return sign;
    }
    let zeros = fraction.leading_zeros() as i32;
    let (mut fraction, mut biased) = (fraction << zeros, size - zeros + BIAS);
    if biased >= EXPONENT {
        return sign | INFINITY;
    }
    if biased < 1 {
        fraction = shifted(fraction, 1 - biased);
        biased = 1;
    }
    let kept = fraction >> DROPPED_BITS;
    let dropped = fraction as u32 & (2 * DROPPED_HALF - 1);
    let up = dropped + (kept as u32 & 1) > DROPPED_HALF;
    // The highest bit of what is kept adds 1 to the exponent, and so does a carry of the rounding.
    sign | ((((biased - 1) as u64) << FRACTION_BITS) + kept + u64::from(up))
}

/// The sum.
#[inline(never)]
pub(crate) fn add(one: u64, two: u64) -> u64 {
    let (large, small) = if one << 1 >= two << 1 { (one, two) } else { (two, one) };
    let apart = (one ^ two) & SIGN != 0;
    if large << 1 >= INFINITY << 1 {
        return if is_nan(large) || apart && small << 1 == INFINITY << 1 { NAN_BITS } else { large };
    }
    let ((first, size), (second, other)) = (unpack(large), unpack(small));
    let (first, second) = (first << SUM_BITS, shifted(second << SUM_BITS, size - other));
    let sum = if apart { first - second } else { first + second };
    pack(if apart && sum == 0 { 0 } else { large & SIGN }, size + 1, sum)
}

/// The product.
pub(crate) fn multiply(one: u64, two: u64) -> u64 {
    scale(one, two, false)
}

/// The quotient.
pub(crate) fn divide(one: u64, two: u64) -> u64 {
    scale(one, two, true)
}

/// The product or the quotient.
#[inline(never)]
fn scale(one: u64, two: u64, divides: bool) -> u64 {
    let (sign, one, two) = ((one ^ two) & SIGN, one & !SIGN, two & !SIGN);
    // What a zero is to a product, an infinity is to a quotient.
    let (zero, infinity) = if divides { (INFINITY, 0) } else { (0, INFINITY) };
    if is_nan(one) || is_nan(two) || one == 0 && two == infinity || one == INFINITY && two == zero {
        return NAN_BITS;
    }
    if one == INFINITY || two == infinity {
        return sign | INFINITY;
    }
    if two == zero {
        return sign;
    }
    let ((first, size), (second, other)) = (unpack(one), unpack(two));
    if divides {
        return pack(sign, size - other + 64 - DIGITS - 1, quotient(first, second));
    }
    pack(sign, size + other + 1, high_product(first << DROPPED_BITS, second << DROPPED_BITS))
}

/// The upper 64 bits of a product, the lowest of them set when a lower one is.
fn high_product(one: u64, two: u64) -> u64 {
    let halves = |value: u64| (value >> 32, value & 0xFFFF_FFFF);
    let ((high, low), (other_high, other_low)) = (halves(one), halves(two));
    let (cross, other_cross) = (halves(high * other_low), halves(low * other_high));
    let lowest = halves(low * other_low);
    let middle = halves(cross.1 + other_cross.1 + lowest.0);
    (high * other_high + cross.0 + other_cross.0 + middle.0) | u64::from(middle.1 | lowest.1 != 0)
}

/// The digits of a quotient, and behind them whether anything is left.
fn quotient(dividend: u64, divisor: u64) -> u64 {
    let (mut rest, mut quotient) = (dividend, 0);
    for _ in 0..DIGITS {
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
        rest <<= 1;
    }
    quotient << 1 | u64::from(rest != 0)
}

/// The square root; NaN below zero.
pub(crate) fn root(word: u64) -> u64 {
    if word << 1 == 0 || word == INFINITY {
        return word;
    }
    if word & SIGN != 0 || is_nan(word) {
        return NAN_BITS;
    }
    let (mut fraction, size) = unpack(word);
    // Two digits of an even power of two give one of the root; the fraction takes 54 bits, what follows are zeros.
    fraction <<= size & 1;
    let (mut root, mut rest): (u64, u64) = (0, 0);
    for _ in 0..DIGITS {
        rest = (rest << 2) | (fraction >> FRACTION_BITS) & 3;
        fraction = fraction << 2 & (FRACTION << 2 | 3);
        let trial = (root << 2) | 1;
        root <<= 1;
        if rest >= trial {
            rest -= trial;
            root |= 1;
        }
    }
    pack(0, (size >> 1) + 64 - DIGITS - 1, root << 1 | u64::from(rest != 0))
}

/// The float next to an int.
pub(crate) fn of_int(value: i64) -> u64 {
    of_size(value as u64 & SIGN, value.unsigned_abs())
}

/// The float next to an integer with this sign.
pub(crate) fn of_size(sign: u64, size: u64) -> u64 {
    pack(sign, 63, size)
}

/// How `integral` takes a magnitude to a whole number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Down: toward zero.
    Down,
    /// To the nearest, a half up.
    Half,
    /// Up: away from zero.
    Up,
}

/// To an integral float; keeps the sign, infinities and NaN.
pub(crate) fn integral(word: u64, way: Way) -> u64 {
    let size = exponent(word);
    if size >= FRACTION_BITS {
        return word;
    }
    if size < 0 {
        let up = way == Way::Half && size == -1 || way == Way::Up && word << 1 != 0;
        return word & SIGN | if up { ONE } else { 0 };
    }
    let rest = FRACTION >> size;
    let more = match way {
        Way::Down => 0,
        Way::Half => (rest + 1) >> 1,
        Way::Up => rest,
    };
    word.wrapping_add(more) & !rest
}

/// The magnitude of a float below 2^63 as an integer: to the nearest, ties to even, or toward zero.
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
    // Two bits below the point: the half, and whether anything is below it.
    let twice = shifted(fraction << 2, FRACTION_BITS - size);
    let result = twice >> 2;
    result + u64::from(nearest && (twice & 3) as u32 + (result as u32 & 1) > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: usize = 2_000_000;
    const BORDERS: [u64; 8] = [0, SIGN, INFINITY, INFINITY | SIGN, NAN_BITS, 1, FRACTION, FRACTION + 1];

    /// xorshift64*, and words that are near the borders: zeros, subnormals, infinities, NaN, ties.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
        }

        fn word(&mut self) -> u64 {
            let (word, kind) = (self.next(), self.next());
            let few = word & (u64::MAX << (kind >> 8 & 63));
            let near =
                (word & SIGN | ONE).wrapping_add(word >> 58 << 52) | word & FRACTION & !(FRACTION >> (kind >> 16 & 31));
            match kind & 7 {
                0 => word,
                1 => few,
                2 => word & (SIGN | FRACTION) >> (kind >> 8 & 31) | word & SIGN,
                3 => word & SIGN | (INFINITY - 1 - (word & 7)),
                4 => *BORDERS.get((word & 7) as usize).unwrap_or(&0),
                5 => (word as i64 >> (kind >> 8 & 63)) as f64 as u64,
                _ => near,
            }
        }
    }

    fn same(found: u64, expected: f64) -> bool {
        found == expected.to_bits() || expected.is_nan() && is_nan(found)
    }

    #[test]
    fn arithmetic_is_that_of_the_host() {
        let mut random = Random(20_261_128);
        for _ in 0..ROUNDS {
            let (one, two) = (random.word(), random.word());
            let (first, second) = (f64::from_bits(one), f64::from_bits(two));
            assert!(same(add(one, two), first + second), "{one:x} + {two:x}");
            assert!(same(add(one, two ^ SIGN), first - second), "{one:x} - {two:x}");
            assert!(same(multiply(one, two), first * second), "{one:x} * {two:x}");
            assert!(same(divide(one, two), first / second), "{one:x} / {two:x}");
        }
    }

    #[test]
    fn a_sum_of_floats_that_nearly_cancel_is_that_of_the_host() {
        let mut random = Random(7);
        for _ in 0..ROUNDS {
            let one = random.word();
            let two = one ^ SIGN ^ (random.next() >> (random.next() & 63) & (FRACTION | 3 << 52));
            assert!(same(add(one, two), f64::from_bits(one) + f64::from_bits(two)), "{one:x} {two:x}");
        }
    }

    #[test]
    fn whole_numbers_are_those_of_the_host() {
        let mut random = Random(11);
        for _ in 0..ROUNDS {
            let word = random.word();
            let value = f64::from_bits(word);
            assert_eq!(of_int(word as i64), (word as i64 as f64).to_bits());
            let few = word as i64 >> (random.next() & 63);
            assert_eq!(of_int(few), (few as f64).to_bits());
            assert!(same(root(word), value.sqrt()), "{word:x}");
            assert!(same(integral(word, Way::Down), value.trunc()), "{word:x}");
            assert!(same(integral(word, Way::Half), value.round()), "{word:x}");
            let up = if value < 0.0 { value.floor() } else { value.ceil() };
            assert!(same(integral(word, Way::Up), up), "{word:x}");
            if exponent(word) < 63 {
                assert_eq!(whole(word, false), value.abs() as u64);
                assert_eq!(whole(word, true), value.abs().round_ties_even() as u64);
            }
        }
    }
}
