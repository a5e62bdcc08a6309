//! Numbers modulo the order of the base point.

use crate::constants::L;
use crate::field::{Words, difference};

/// A number of 512 bits, the lowest byte first, modulo the group order: one bit after the other.
pub fn reduce(bytes: &[u8; 64]) -> Words {
    let mut result = [0; 8];
    for byte in bytes.iter().rev() {
        for bit in (0..8).rev() {
            let mut carry = u32::from(byte >> bit & 1);
            for word in &mut result {
                let next = *word >> 31;
                *word = *word << 1 | carry;
                carry = next;
            }
            let (less, below) = difference(&result, &L);
            if !below {
                result = less;
            }
        }
    }
    result
}
