//! The records of the log that a bank holds, as bytes. docs/serial-link.md, Flash.

use crate::crc::{Crc, crc32};

/// Bytes of the header that every record starts with.
pub const HEADER_BYTES: usize = 32;
/// Bytes between the header of a program and the program: its id and its rule's name.
pub const PREFIX_BYTES: usize = ID_BYTES + 1 + NAME_BYTES_MAX;
/// Bytes of a program's id: the SHA-256 of its signed bytes.
pub const ID_BYTES: usize = 32;
/// The longest name of a rule.
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of the commit: the CRC of the payload, then the commit word.
pub const COMMIT_BYTES: usize = 8;

const MAGIC: u16 = 0xE7EF;
const COMMIT_SALT: u32 = 0x6576_6C66;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program: prefix, program, commit.
    Program = 1,
    /// The program `key` of the place was started on probation.
    Trial = 2,
    /// The program `key` of the place has proved itself.
    Good = 3,
    /// The program `key` of the place failed or was taken back; the one before it runs again.
    Faulted = 4,
    /// The place was emptied; programs of the rule `key` below `sequence` stay refused.
    Removed = 5,
    /// Programs of the rule `key` below `sequence` stay refused.
    Floor = 6,
    /// Bytes that the firmware keeps for the rule of the place: payload, commit. `key` is 0.
    Data = 7,
    /// A program that waits in the second slot of the place: prefix, program, commit.
    Staged = 8,
    /// The staged program `key` of the place runs from now on.
    Switched = 9,
    /// The staged program `key` of the place is not wanted any more.
    Dropped = 10,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Program,
            2 => Kind::Trial,
            3 => Kind::Good,
            4 => Kind::Faulted,
            5 => Kind::Removed,
            6 => Kind::Floor,
            7 => Kind::Data,
            8 => Kind::Staged,
            9 => Kind::Switched,
            10 => Kind::Dropped,
            _ => return None,
        })
    }

    /// Whether a payload and a commit follow the header.
    pub const fn has_payload(self) -> bool {
        self.is_program() || matches!(self, Kind::Data)
    }

    /// Whether the payload is a program, with its prefix.
    pub const fn is_program(self) -> bool {
        matches!(self, Kind::Program | Kind::Staged)
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the record says.
    pub kind: Kind,
    /// The place (0 to 3) that it is about.
    pub place: u8,
    /// Bytes of the payload: of a program without its prefix.
    pub length: u32,
    /// The anti-rollback sequence of a program or a floor.
    pub sequence: u64,
    /// The rule (see `rule_key`), the first bytes of a program's id, or 0, by the kind.
    pub key: u64,
}

impl Header {
    /// The bytes of the header, its CRC last.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let first = u32::from(MAGIC) | u32::from(self.kind as u8) << 16 | u32::from(self.place) << 24;
        let (sequence, key) = (self.sequence, self.key);
        let halves = [sequence as u32, (sequence >> 32) as u32, key as u32, (key >> 32) as u32];
        put_words(&mut bytes, &[first, self.length, halves[0], halves[1], halves[2], halves[3], 0]);
        seal(&mut bytes);
        bytes
    }

    /// The header in these bytes, or nothing when they are not one.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [_, _, kind, place, ..] = *bytes;
        let found = Self {
            kind: Kind::from_byte(kind)?,
            place,
            length: word(bytes, 4),
            sequence: double(bytes, 8),
            key: double(bytes, 16),
        };
        // There is one encoding of each header: magic, zero and CRC are right when it comes out again.
        (found.encode() == *bytes).then_some(found)
    }

    /// The commit of a record with this header and a payload of this CRC. The second word comes last on flash.
    pub fn commit(&self, payload_crc: u32) -> [u8; COMMIT_BYTES] {
        let mut crc = Crc::new();
        // Without its own CRC: the CRC of bytes and their CRC is the same for all bytes.
        crc.update(&self.encode()[..28]);
        crc.update(&payload_crc.to_le_bytes());
        let mut bytes = [0; COMMIT_BYTES];
        put_words(&mut bytes, &[payload_crc, crc.value() ^ COMMIT_SALT]);
        bytes
    }
}

/// Write words as little-endian bytes.
pub fn put_words(bytes: &mut [u8], words: &[u32]) {
    for (four, &word) in bytes.chunks_exact_mut(4).zip(words) {
        let mut rest = word;
        for place in four {
            *place = rest as u8;
            rest >>= 8;
        }
    }
}

/// Write the CRC of what is before the last four bytes into them.
pub fn seal(bytes: &mut [u8]) {
    let (content, last) = bytes.split_at_mut(bytes.len().saturating_sub(4));
    put_words(last, &[crc32(content)]);
}

/// The little-endian word at `at`; a place outside of the bytes reads as zeros.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at.saturating_add(4)).unwrap_or(&[]);
    four.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// The little-endian double word at `at`; a place outside of the bytes reads as zeros.
pub fn double(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// The key of a rule's name: its CRC-32 and its 32-bit FNV-1a. Names are chosen by those who may sign, so this need not
/// resist an attacker; it only has to tell the rules of one board apart.
pub fn rule_key(name: &[u8]) -> u64 {
    let mut hash = 0x811C_9DC5_u32;
    for &byte in name {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    u64::from(crc32(name)) | u64::from(hash) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { kind: Kind::Program, place: 2, length: 1344, sequence: 1 << 40, key: 7 };

    #[test]
    fn a_header_comes_back() {
        assert_eq!(Header::decode(&HEADER.encode()), Some(HEADER));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn erased_and_zeroed_flash_hold_no_header() {
        assert_eq!(Header::decode(&[0xFF; HEADER_BYTES]), None);
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
    }

    #[test]
    fn the_commit_depends_on_header_and_payload() {
        let other = Header { place: 1, ..HEADER };
        assert_ne!(HEADER.commit(1)[4..], other.commit(1)[4..]);
        assert_ne!(HEADER.commit(1)[4..], HEADER.commit(2)[4..]);
        assert_ne!(HEADER.commit(0), [0xFF; COMMIT_BYTES]);
    }

    #[test]
    fn keys_of_near_names_differ() {
        assert_ne!(rule_key(b"pump_1"), rule_key(b"pump_2"));
        assert_ne!(rule_key(b"a"), rule_key(b"aa"));
    }
}
