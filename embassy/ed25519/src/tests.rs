//! Field, scalars and points against plain numbers of any size, above all where a carry or a borrow runs through.

use crate::constants::{BASE_X, BASE_XY, BASE_Y, D, D2, INVERSE_EXPONENT, L, P, ROOT, ROOT_EXPONENT};
use crate::field::{Words, add, difference, less, mul, power, reduced, same, sub};
use crate::point::Point;
use crate::scalar;
use num_bigint::BigUint;

/// A generator that gives the same numbers in each run (SplitMix64; Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number whose words are often all ones or all zeros, so that carries run far.
    fn words(&mut self) -> Words {
        core::array::from_fn(|_| match self.next() % 4 {
            0 => u32::MAX,
            1 => 0,
            _ => self.next() as u32,
        })
    }
}

fn big(words: &Words) -> BigUint {
    BigUint::from_slice(words)
}

fn small(number: &BigUint) -> Words {
    let mut words = [0; 8];
    words.iter_mut().zip(number.to_u32_digits()).for_each(|(to, from)| *to = from);
    assert_eq!(&big(&words), number, "more than 256 bits");
    words
}

fn two_to(exponent: u32) -> BigUint {
    BigUint::from(1_u8) << exponent
}

fn prime() -> BigUint {
    two_to(255) - 19_u8
}

fn order() -> BigUint {
    two_to(252) + "27742317777372353535851937790883648493".parse::<BigUint>().unwrap()
}

/// Numbers around everything where the arithmetic could turn.
fn corners() -> Vec<Words> {
    let mut centres =
        vec![BigUint::ZERO, prime(), prime() * 2_u8, two_to(255), two_to(256), order(), BigUint::from(38_u8)];
    centres.extend((1..8).map(|word| two_to(32 * word)));
    let mut found = vec![];
    for centre in centres {
        for offset in 0..=40_u8 {
            let near = [Some(&centre + offset), (centre >= BigUint::from(offset)).then(|| &centre - offset)];
            found
                .extend(near.into_iter().flatten().filter(|number| number < &two_to(256)).map(|number| small(&number)));
        }
    }
    found.extend((0..8).map(|word| core::array::from_fn(|index| if index == word { u32::MAX } else { 0 })));
    found.extend((0..8).map(|word| core::array::from_fn(|index| if index == word { 0 } else { u32::MAX })));
    found
}

fn agree(one: &Words, other: &Words) {
    let (a, b, p) = (big(one), big(other), prime());
    let right = |got: Words, wanted: BigUint, name: &str| {
        assert_eq!(big(&got) % &p, wanted % &p, "{name} of {a:x} and {b:x}");
    };
    right(add(one, other), &a + &b, "sum");
    right(sub(one, other), &a + &p * 3_u8 - &b, "difference");
    right(mul(one, other), &a * &b, "product");
    assert_eq!(less(one, other), a < b);
    assert_eq!(same(one, other), &a % &p == &b % &p);
    let (wrapped, below) = difference(one, other);
    assert_eq!((big(&wrapped), below), ((two_to(256) + &a - &b) % two_to(256), a < b));
    assert_eq!(big(&reduced(one)), a % p);
}

#[test]
fn the_field_agrees_with_plain_numbers_at_every_corner() {
    let corners = corners();
    assert!(corners.len() > 500);
    for one in &corners {
        for other in &corners {
            agree(one, other);
        }
    }
}

#[test]
fn the_field_agrees_with_plain_numbers_at_random() {
    let mut random = Random(1);
    for _ in 0..100_000 {
        agree(&random.words(), &random.words());
    }
}

#[test]
fn powers_agree_with_plain_numbers() {
    let mut random = Random(2);
    for _ in 0..300 {
        let (base, exponent) = (random.words(), random.words());
        assert_eq!(big(&power(&base, &exponent)) % prime(), big(&base).modpow(&big(&exponent), &prime()));
    }
}

#[test]
fn scalars_agree_with_plain_numbers() {
    let mut random = Random(3);
    let mut wide: Vec<[u8; 64]> = vec![[0; 64], [0xFF; 64]];
    for factor in [order(), order() * order(), (two_to(512) / order()) * order()] {
        for offset in 0..3_u8 {
            for number in [&factor + offset, &factor - offset] {
                let mut bytes = number.to_bytes_le();
                bytes.resize(64, 0);
                wide.push(bytes.try_into().unwrap());
            }
        }
    }
    for _ in 0..20_000 {
        let words = [random.words(), random.words()].concat();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        wide.push(bytes.try_into().unwrap());
    }
    for bytes in wide {
        assert_eq!(big(&scalar::reduce(&bytes)), BigUint::from_bytes_le(&bytes) % order());
    }
}

/// The constants from their definitions, RFC 8032, 5.1.
#[test]
fn the_constants_are_what_they_are_called() {
    let p = prime();
    let inverse = |number: BigUint| number.modpow(&(&p - 2_u8), &p);
    let d = (&p - 121_665_u32) * inverse(121_666_u32.into()) % &p;
    assert_eq!((big(&P), big(&L), big(&D)), (p.clone(), order(), d.clone()));
    assert_eq!(big(&D2), d.clone() * 2_u8 % &p);
    assert_eq!(big(&ROOT).modpow(&2_u8.into(), &p), &p - 1_u8);
    assert_eq!(big(&BASE_Y), 4_u8 * inverse(5_u8.into()) % &p);
    let (x, y) = (big(&BASE_X), big(&BASE_Y));
    assert_eq!((big(&BASE_XY), &x % 2_u8), (&x * &y % &p, BigUint::ZERO));
    let (xx, yy) = (&x * &x % &p, &y * &y % &p);
    assert_eq!((&yy + &p - &xx) % &p, (d * xx * yy + 1_u8) % &p, "the base point is on the curve");
    assert_eq!((big(&ROOT_EXPONENT), big(&INVERSE_EXPONENT)), ((&p - 5_u8) / 8_u8, &p - 2_u8));
}

/// Each number below 2^255 with either sign is decoded as RFC 8032, 5.1.3 says, and comes out as it went in.
#[test]
fn points_are_decoded_in_their_one_form_only() {
    let mut random = Random(4);
    let mut found = [0; 2];
    let mut candidates = corners();
    candidates.extend((0..2000).map(|_| random.words()));
    for words in candidates {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let bytes: [u8; 32] = bytes.try_into().unwrap();
        let decoded = Point::decode(&bytes);
        assert_eq!(decoded.is_some(), is_point(&bytes), "{bytes:02x?}");
        found[usize::from(decoded.is_some())] += 1;
        if let Some(point) = decoded {
            assert_eq!(point.encode(), bytes);
        }
    }
    assert!(found.iter().all(|&count| count > 300), "{found:?}");
}

fn is_point(bytes: &[u8; 32]) -> bool {
    let p = prime();
    let (mut y, odd) = (*bytes, bytes[31] >> 7 == 1);
    y[31] &= 0x7F;
    let y = BigUint::from_bytes_le(&y);
    let yy = &y * &y;
    let below = big(&D) * &yy + 1_u8;
    let xx = (yy + &p - 1_u8) * below.modpow(&(&p - 2_u8), &p) % &p;
    let euler = xx.modpow(&((&p - 1_u8) / 2_u8), &p);
    y < p && if xx == BigUint::ZERO { !odd } else { euler == BigUint::from(1_u8) }
}
