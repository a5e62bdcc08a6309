//! The outer form of a `.svm` file: header, sections, signatures. docs/svm.md, The `.svm` file.

use crate::isa::ABI;
use crate::reader::Reader;
use crate::refusal::{Checked, Refusal, Why};
use crate::signing::Signature;

const MAGIC: &[u8] = b"\x7fSVM";
const FORMAT: u8 = 1;
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
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes, 0);
        reader.need(bytes.len() <= PROGRAM_BYTES_MAX, Why::TooMany)?;
        let header = read_header(&mut reader)?;
        let size = header.size_bytes as usize;
        let Some(signed_bytes) = bytes.get(..size).filter(|_| size >= HEADER_BYTES) else {
            return Err(reader.fault(Why::Truncated));
        };
        let signatures = read_signatures(&mut Reader::new(bytes, size))?;
        Ok(Self { header, signed_bytes, signatures })
    }

    /// The signatures, ascending by key.
    pub fn signatures(&self) -> impl Iterator<Item = Signature<'a>> + use<'a> {
        self.signatures.chunks_exact(KEY_BYTES + SIGNATURE_BYTES).filter_map(|both| {
            let (key, signature) = both.split_at_checked(KEY_BYTES)?;
            Some(Signature { key: key.try_into().ok()?, signature: signature.try_into().ok()? })
        })
    }

    /// Check the form of the sections and return where the payload of each starts.
    pub(crate) fn sections(&self) -> Checked<[Section<'a>; SECTIONS]> {
        let mut reader = Reader::new(self.signed_bytes, HEADER_BYTES);
        let count = reader.u8()?;
        reader.need(usize::from(count) == SECTIONS, Why::Order)?;
        reader.zeros(3)?;
        let mut sections = [Section { reader }; SECTIONS];
        for (id, section) in (1..).zip(&mut sections) {
            let found = reader.u8()?;
            reader.need(found == id, Why::Order)?;
            reader.zeros(3)?;
            let size = reader.u32()? as usize;
            let start = reader.position;
            reader.take(size)?;
            let payload = self.signed_bytes.get(..reader.position).unwrap_or(&[]);
            *section = Section { reader: Reader::new(payload, start) };
            reader.zeros(size.wrapping_neg() & 3)?;
        }
        reader.finish()?;
        Ok(sections)
    }
}

/// The payload of one section.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    pub reader: Reader<'a>,
}

fn read_header(reader: &mut Reader<'_>) -> Checked<Header> {
    let magic = reader.take(MAGIC.len())?;
    reader.need(magic == MAGIC, Why::Magic)?;
    for known in [FORMAT, ABI] {
        let found = reader.u8()?;
        reader.need(found == known, Why::Version)?;
    }
    Ok(Header {
        profile: reader.below(PROFILES, Why::Unknown)?,
        priority: reader.below(PRIORITIES, Why::Unknown)?,
        sequence: reader.u64()?,
        size_bytes: reader.u32()?,
    })
}

/// Return the bytes of all signatures.
fn read_signatures<'a>(reader: &mut Reader<'a>) -> Checked<&'a [u8]> {
    let count = reader.below(SIGNATURES_MAX + 1, Why::TooMany)?;
    reader.zeros(3)?;
    let both = KEY_BYTES + SIGNATURE_BYTES;
    let bytes = reader.take(usize::from(count) * both)?;
    reader.finish()?;
    let mut before: Option<&[u8]> = None;
    for each in bytes.chunks_exact(both) {
        let key = each.get(..KEY_BYTES);
        reader.need(before.is_none() || before < key, Why::Order)?;
        before = key;
    }
    Ok(bytes)
}
