//! Ed25519 verification (RFC 8032) for microcontrollers: about 4 KB of flash with its SHA-512, 1.5 KB of stack.
//!
//! It only verifies. Everything that it sees is public, so nothing here has to take the same time for all inputs; for
//! the same reason it must never be used to sign. Why it is not one of the crates that exist: docs/chips/stm32f401cc.md.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod constants;
mod field;
mod point;
mod scalar;
#[cfg(test)]
mod tests;

use point::Point;

/// Whether `signature` is that of the public key `key` over `message`.
///
/// As in RFC 8032, 5.1.7, without the cofactor: S is below the group order, the key is a point of the curve in its one
/// form, and [S]B - [k]A has exactly the bytes of R, which therefore are the one form of R. A key of small order is
/// refused: anybody can make signatures of it. These are the rules of "Taming the many EdDSAs" (Chalkias, Garillot,
/// Nikolaenko, 2020) that make a signature binding to one key; `eyeflow.svm.signing` holds to the same ones on the PC.
pub fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (mut commitment, mut response) = ([0; 32], [0; 32]);
    commitment.iter_mut().zip(signature).for_each(|(to, from)| *to = *from);
    response.iter_mut().zip(signature.iter().skip(32)).for_each(|(to, from)| *to = *from);
    let response = field::words(&response);
    let Some(point) = Point::decode(key).filter(|point| !point.has_small_order()) else {
        return false;
    };
    if !field::less(&response, &constants::L) {
        return false;
    }
    let mut hash = hmac_sha512::Hash::new();
    hash.update(commitment);
    hash.update(key);
    hash.update(message);
    let challenge = scalar::reduce(&hash.finalize());
    Point::combine(&response, &challenge, &point.negated()).encode() == commitment
}
