//! SHA-256 and the check of signatures.

use eyeflow_svm::Crypto;

/// SHA-256 (FIPS 180-4).
pub fn sha256(data: &[u8]) -> [u8; 32] {
    hmac_sha256::Hash::hash(data)
}

/// The cryptography of this board.
pub struct BoardCrypto;

impl Crypto for BoardCrypto {
    fn sha256(&mut self, data: &[u8]) -> [u8; 32] {
        sha256(data)
    }

    #[inline(never)]
    fn verify(&mut self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        eyeflow_ed25519::verify(key, message, signature)
    }
}
