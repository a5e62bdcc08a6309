//! Points of the curve in extended coordinates, with the one complete addition of RFC 8032, 5.1.4.

use crate::constants::{BASE_X, BASE_XY, BASE_Y, D, D2, INVERSE_EXPONENT, P, ROOT, ROOT_EXPONENT};
use crate::field::{Words, add, bit, less, mul, power, reduced, same, sub, words};

const ZERO: Words = [0; 8];
const ONE: Words = [1, 0, 0, 0, 0, 0, 0, 0];

/// A point (x, y) as x / z, y / z and x y / z.
#[derive(Clone, Copy)]
pub struct Point {
    x: Words,
    y: Words,
    z: Words,
    t: Words,
}

impl Point {
    const NEUTRAL: Self = Self { x: ZERO, y: ONE, z: ONE, t: ZERO };
    const BASE: Self = Self { x: BASE_X, y: BASE_Y, z: ONE, t: BASE_XY };

    /// The point in 32 bytes; nothing when there is none, or the bytes are not its one form.
    pub fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let mut y = words(bytes);
        let odd = bit(&y, 255);
        y[7] &= u32::MAX >> 1;
        if !less(&y, &P) {
            return None;
        }
        let square = mul(&y, &y);
        let (above, below) = (sub(&square, &ONE), add(&mul(&square, &D), &ONE));
        let mut x = root(&above, &below)?;
        let x_is_zero = same(&x, &ZERO);
        if x_is_zero && odd {
            return None;
        }
        if bit(&reduced(&x), 0) != odd {
            x = sub(&ZERO, &x);
        }
        Some(Self { x, y, z: ONE, t: mul(&x, &y) })
    }

    /// The one form of a point in 32 bytes.
    pub fn encode(&self) -> [u8; 32] {
        let inverse = power(&self.z, &INVERSE_EXPONENT);
        let (x, mut y) = (reduced(&mul(&self.x, &inverse)), reduced(&mul(&self.y, &inverse)));
        y[7] |= (x[0] & 1) << 31;
        let mut bytes = [0; 32];
        let from = y.iter().flat_map(|word| word.to_le_bytes());
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The point on the other side.
    pub fn negated(&self) -> Self {
        Self { x: sub(&ZERO, &self.x), t: sub(&ZERO, &self.t), ..*self }
    }

    #[inline(never)]
    fn plus(&self, other: &Self) -> Self {
        let a = mul(&sub(&self.y, &self.x), &sub(&other.y, &other.x));
        let b = mul(&add(&self.y, &self.x), &add(&other.y, &other.x));
        let c = mul(&mul(&self.t, &D2), &other.t);
        let d = mul(&add(&self.z, &self.z), &other.z);
        let (e, f, g, h) = (sub(&b, &a), sub(&d, &c), add(&d, &c), add(&b, &a));
        Self { x: mul(&e, &f), y: mul(&g, &h), z: mul(&f, &g), t: mul(&e, &h) }
    }

    /// Whether the point is one of the eight whose order divides eight: four times it has x = 0. Nobody has a private key
    /// of such a public key, and anybody can make signatures of it.
    pub fn has_small_order(&self) -> bool {
        let twice = self.plus(self);
        same(&twice.plus(&twice).x, &ZERO)
    }

    /// The base point `first` times, plus `other` `second` times.
    pub fn combine(first: &Words, second: &Words, other: &Self) -> Self {
        let both = Self::BASE.plus(other);
        let mut sum = Self::NEUTRAL;
        for index in (0..256).rev() {
            sum = sum.plus(&sum);
            match (bit(first, index), bit(second, index)) {
                (true, true) => sum = sum.plus(&both),
                (true, false) => sum = sum.plus(&Self::BASE),
                (false, true) => sum = sum.plus(other),
                (false, false) => {}
            }
        }
        sum
    }
}

/// A square root of a fraction, RFC 8032, 5.1.3; nothing when it is no square.
fn root(above: &Words, below: &Words) -> Option<Words> {
    let cube = mul(&mul(below, below), below);
    let seventh = mul(&mul(&cube, &cube), below);
    let candidate = mul(&mul(above, &cube), &power(&mul(above, &seventh), &ROOT_EXPONENT));
    let square = mul(&mul(&candidate, &candidate), below);
    if same(&square, above) {
        return Some(candidate);
    }
    let negative = sub(&ZERO, above);
    same(&square, &negative).then(|| mul(&candidate, &ROOT))
}
