//! RFC 8032, 7.1, and signatures that another implementation made; each damaged in every byte.

use eyeflow_ed25519::verify;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap();
    }
    bytes
}

struct Vector {
    key: [u8; 32],
    signature: [u8; 64],
    message: Vec<u8>,
}

/// Lines of `key signature message`, made by `cryptography` (OpenSSL) from seeds; the first three are those of the RFC.
fn vectors() -> Vec<Vector> {
    let read = |line: &str| {
        let mut parts = line.split(' ');
        let (key, signature) = (parts.next().unwrap(), parts.next().unwrap());
        let message = parts.next().unwrap();
        let pairs = (0..message.len() / 2).map(|index| u8::from_str_radix(&message[2 * index..2 * index + 2], 16));
        Vector { key: bytes(key), signature: bytes(signature), message: pairs.map(Result::unwrap).collect() }
    };
    include_str!("vectors.txt").lines().map(read).collect()
}

#[test]
fn good_signatures_are_good() {
    let all = vectors();
    assert!(all.len() > 60);
    for vector in all {
        assert!(verify(&vector.key, &vector.message, &vector.signature));
    }
}

#[test]
fn a_change_of_any_byte_is_seen() {
    for vector in vectors().iter().take(3) {
        for index in 0..64 {
            let mut signature = vector.signature;
            signature[index] ^= 1 << (index % 8);
            assert!(!verify(&vector.key, &vector.message, &signature), "byte {index} of the signature");
        }
        for index in 0..32 {
            let mut key = vector.key;
            key[index] ^= 1 << (index % 8);
            assert!(!verify(&key, &vector.message, &vector.signature), "byte {index} of the key");
        }
    }
    for vector in vectors().iter().skip(3) {
        for index in 0..vector.message.len() {
            let mut message = vector.message.clone();
            message[index] ^= 0x80;
            assert!(!verify(&vector.key, &message, &vector.signature), "byte {index} of the message");
        }
    }
}

/// S + L satisfies the same equation; RFC 8032 demands S < L, or anybody could make a second signature of one.
#[test]
fn a_response_beyond_the_group_order_is_refused() {
    const L: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    for vector in vectors() {
        let mut signature = vector.signature;
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!verify(&vector.key, &vector.message, &signature));
    }
}

#[test]
fn keys_that_are_no_point_are_refused() {
    let vector = &vectors()[0];
    let mut refused = 0;
    for first in 0..=255 {
        let mut key = [0; 32];
        key[0] = first;
        refused += u32::from(!verify(&key, &vector.message, &vector.signature));
    }
    assert_eq!(refused, 256);
    assert!(!verify(&[0xFF; 32], &vector.message, &vector.signature));
}
