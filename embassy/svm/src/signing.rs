//! Who signed a program. The cryptography comes from the firmware: docs/svm.md, The `.svm` file.

use crate::container::Signed;
use crate::refusal::{Refusal, Why};

const CONTEXT: &[u8; 19] = b"eyeflow program v1\0";
const DIGEST_BYTES: usize = 32;
const MESSAGE_BYTES: usize = CONTEXT.len() + DIGEST_BYTES;

/// One signature of a program.
#[derive(Clone, Copy)]
pub struct Signature<'a> {
    /// The Ed25519 public key.
    pub key: &'a [u8; 32],
    /// The signature over [`message`].
    pub signature: &'a [u8; 64],
}

/// The cryptography of a board.
pub trait Crypto {
    /// SHA-256 of `data`.
    fn sha256(&mut self, data: &[u8]) -> [u8; DIGEST_BYTES];
    /// Whether `signature` is that of `key` over `message` (Ed25519, RFC 8032).
    fn verify(&mut self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

/// What a signature is over: the context and the SHA-256 of the signed bytes, which is the program's id.
pub fn message(program_id: &[u8; DIGEST_BYTES]) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    bytes.iter_mut().zip(CONTEXT.iter().chain(program_id)).for_each(|(place, byte)| *place = *byte);
    bytes
}

/// Check every signature, also one of a key that nobody trusts, and that one is of a `trusted` key.
///
/// Returns the program's id. Refuses with [`Why::Unsigned`], [`Why::BadSignature`] or [`Why::ForeignSignature`].
pub fn check_signatures(
    signed: &Signed<'_>,
    trusted: &[[u8; 32]],
    crypto: &mut impl Crypto,
) -> Result<[u8; DIGEST_BYTES], Refusal> {
    let at = signed.signed_bytes.len();
    let program_id = crypto.sha256(signed.signed_bytes);
    let message = message(&program_id);
    let mut why = Why::Unsigned;
    let mut known = false;
    for each in signed.signatures() {
        if !crypto.verify(each.key, &message, each.signature) {
            return Err(Refusal::new(Why::BadSignature, at));
        }
        known |= trusted.contains(each.key);
        why = Why::ForeignSignature;
    }
    if known { Ok(program_id) } else { Err(Refusal::new(why, at)) }
}
