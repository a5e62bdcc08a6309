//! The outer form of a `.svm` file: header, sections, signatures. docs/svm.md, The `.svm` file.

use crate::isa::ABI;
use crate::reader::Reader;
use crate::refusal::{Refusal, Why};
use crate::signing::Signature;

const MAGIC: u32 = u32::from_le_bytes(*b"\x7fSVM");
const FORMAT: u8 = 2;
const HEADER_BYTES: usize = 20;
const PROGRAM_BYTES_MAX: usize = 8 * 1024 * 1024;
const PROFILES: u8 = 2;
const PRIORITIES: u8 = 5;
const SIGNATURES_MAX: u8 = 4;
pub(crate) const SECTIONS: usize = 12;
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// What stands before the sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 0 linux, 1 mcu.
    pub profile: u8,
    /// 0 critical to 4 background.
    pub priority: u8,
    /// Anti-rollback order of the programs of one rule.
    pub sequence: u64,
    /// Bytes from the magic to the end of the last section: what is signed.
    pub size_bytes: u32,
}

/// The outer form of a file that was checked: what is signed, and by whom it claims to be.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The header.
    pub header: Header,
    /// From the magic to the end of the last section; the program's id is their SHA-256.
    pub signed_bytes: &'a [u8],
    signatures: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Check header and signatures of a file, ascending by key and nothing behind them; nothing is checked against a key.
    ///
    /// # Errors
    /// Refuses what is no `.svm` file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes, 0, 0, true);
        reader.need(bytes.len() <= PROGRAM_BYTES_MAX, Why::TooMany);
        let header = read_header(&mut reader);
        let size = header.size_bytes as usize;
        reader.need(HEADER_BYTES <= size && size <= bytes.len(), Why::Truncated);
        reader.position = size;
        let signatures = read_signatures(&mut reader);
        reader.result()?;
        Ok(Self { header, signed_bytes: bytes.get(..size).unwrap_or(&[]), signatures })
    }

    /// The signatures, ascending by key.
    pub fn signatures(&self) -> impl Iterator<Item = Signature<'a>> + use<'a> {
        self.signatures.chunks_exact(KEY_BYTES + SIGNATURE_BYTES).filter_map(|both| {
            let (key, signature) = both.split_first_chunk()?;
            Some(Signature { key, signature: signature.try_into().ok()? })
        })
    }

    /// A reader at the sections, behind their number.
    pub(crate) fn sections(&self) -> Reader<'a> {
        let mut reader = Reader::new(self.signed_bytes, HEADER_BYTES, self.header.profile, true);
        let count = reader.small(4);
        reader.need(count == SECTIONS as u32, Why::Order);
        reader
    }
}

fn read_header(reader: &mut Reader<'_>) -> Header {
    let magic = reader.small(4);
    reader.need(magic == MAGIC, Why::Magic);
    let versions = reader.u16();
    reader.need(versions == u16::from_le_bytes([FORMAT, ABI]), Why::Version);
    Header {
        profile: reader.below(PROFILES, Why::Unknown),
        priority: reader.below(PRIORITIES, Why::Unknown),
        sequence: reader.number(8),
        size_bytes: reader.small(4),
    }
}

/// Return the bytes of all signatures.
fn read_signatures<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    let count = reader.below(SIGNATURES_MAX + 1, Why::TooMany);
    reader.zeros(3);
    let both = KEY_BYTES + SIGNATURE_BYTES;
    let bytes = reader.take(usize::from(count) * both);
    reader.finish();
    let mut before: &[u8] = &[];
    for each in bytes.chunks_exact(both) {
        let key = each.get(..KEY_BYTES).unwrap_or(&[]);
        reader.need(before < key, Why::Order);
        before = key;
    }
    bytes
}

/// Read the head of section `id` and return where its payload starts; `reader` goes behind the padding.
pub(crate) fn read_section<'a>(reader: &mut Reader<'a>, bytes: &'a [u8], id: u8) -> Reader<'a> {
    let found = reader.small(4);
    reader.need(found == u32::from(id), Why::Order);
    let size = reader.small(4) as usize;
    let start = reader.position;
    reader.take(size);
    let payload = bytes.get(..reader.position).unwrap_or(&[]);
    reader.zeros(size.wrapping_neg() & 3);
    let mut section = Reader::new(payload, start, reader.profile, true);
    section.follow(reader);
    section
}
