//! Arithmetic modulo 2^255 - 19 on 256-bit numbers, which need not be reduced: 2^256 counts as 38.

use crate::constants::P;

const WORDS: usize = 8;
/// What 2^256 is modulo the prime.
const FOLD: u64 = 38;

/// A number of 256 bits, the lowest word first.
pub type Words = [u32; WORDS];

/// The number in 32 bytes, the lowest first.
pub fn words(bytes: &[u8; 32]) -> Words {
    let mut words = [0; WORDS];
    for (word, four) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = four.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    }
    words
}

/// Bit `index` of a number.
pub fn bit(words: &Words, index: usize) -> bool {
    words.get(index / 32).is_some_and(|word| word >> (index % 32) & 1 == 1)
}

/// Whether one number is less than the other.
pub fn less(one: &Words, other: &Words) -> bool {
    difference(one, other).1
}

/// One number minus the other modulo 2^256, and whether it went below zero.
pub fn difference(one: &Words, other: &Words) -> (Words, bool) {
    let (mut result, mut borrow) = ([0; WORDS], 0);
    for ((to, one), other) in result.iter_mut().zip(one).zip(other) {
        let sum = i64::from(*one) - i64::from(*other) + borrow;
        *to = sum as u32;
        borrow = sum >> 32;
    }
    (result, borrow != 0)
}

/// Add a small number, folding what runs over back in.
fn fold(words: &mut Words, mut carry: u64) {
    while carry != 0 {
        carry *= FOLD;
        for word in words.iter_mut() {
            carry += u64::from(*word);
            *word = carry as u32;
            carry >>= 32;
            if carry == 0 {
                return;
            }
        }
    }
}

#[inline(never)]
pub fn add(one: &Words, other: &Words) -> Words {
    let (mut result, mut carry) = ([0; WORDS], 0);
    for ((to, one), other) in result.iter_mut().zip(one).zip(other) {
        carry += u64::from(*one) + u64::from(*other);
        *to = carry as u32;
        carry >>= 32;
    }
    fold(&mut result, carry);
    result
}

#[inline(never)]
pub fn sub(one: &Words, other: &Words) -> Words {
    const FOLDED: Words = [FOLD as u32, 0, 0, 0, 0, 0, 0, 0];
    let (mut result, mut below) = difference(one, other);
    while below {
        (result, below) = difference(&result, &FOLDED);
    }
    result
}

#[inline(never)]
pub fn mul(one: &Words, other: &Words) -> Words {
    let mut product = [0; 2 * WORDS];
    // Of the time that a signature takes, nearly all passes in these two loops: indices that the compiler sees to be in
    // bounds cost a third of what chained iterators do.
    for start in 0..WORDS {
        let (factor, mut carry) = (u64::from(one[start]), 0);
        for place in 0..WORDS {
            carry += factor * u64::from(other[place]) + u64::from(product[start + place]);
            product[start + place] = carry as u32;
            carry >>= 32;
        }
        product[start + WORDS] = carry as u32;
    }
    let (mut result, mut carry) = ([0; WORDS], 0);
    for place in 0..WORDS {
        carry += u64::from(product[place]) + FOLD * u64::from(product[place + WORDS]);
        result[place] = carry as u32;
        carry >>= 32;
    }
    fold(&mut result, carry);
    result
}

/// A number to a power.
pub fn power(base: &Words, exponent: &Words) -> Words {
    let mut result = [1, 0, 0, 0, 0, 0, 0, 0];
    for index in (0..256).rev() {
        result = mul(&result, &result);
        if bit(exponent, index) {
            result = mul(&result, base);
        }
    }
    result
}

/// The one form of a number: below the prime.
pub fn reduced(words: &Words) -> Words {
    let mut result = *words;
    // 2^256 - 1 is less than three primes.
    for _ in 0..2 {
        let (less, below) = difference(&result, &P);
        if !below {
            result = less;
        }
    }
    result
}

/// Whether two numbers are the same modulo the prime.
pub fn same(one: &Words, other: &Words) -> bool {
    reduced(one) == reduced(other)
}
