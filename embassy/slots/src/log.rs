//! Reading the log of a bank: one record after the other, until the first place that holds none.

use crate::crc::Crc;
use crate::flash::{Bank, Flash, FlashError};
use crate::record::{COMMIT_BYTES, HEADER_BYTES, Header, Kind, PREFIX_BYTES, put_words, seal, word};

/// Bytes of one copy of a bank's own header; there are two, each in units of its own.
const BANK_HEADER_BYTES: usize = 16;
const BANK_MAGIC: u32 = 0x3142_5945;
const CHUNK_BYTES: usize = 32;

/// What lies at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Erased flash: the log ends here.
    Blank,
    /// Something that is no record: the log was cut off here.
    Torn,
    /// A record; `committed` says whether all of it is there, `next` where the log goes on.
    Record { header: Header, committed: bool, next: u32 },
}

/// `bytes` rounded up to whole units of the flash.
pub(crate) const fn up<F: Flash>(bytes: u32) -> u32 {
    let unit = F::UNIT as u32;
    bytes.saturating_add(unit - 1) / unit * unit
}

/// Where the log of a bank starts.
pub(crate) const fn log_start<F: Flash>() -> u32 {
    2 * up::<F>(BANK_HEADER_BYTES as u32)
}

/// Bytes before the payload of a record: its header, and the prefix of a program.
pub(crate) const fn head_bytes<F: Flash>(kind: Kind) -> u32 {
    up::<F>(if kind.is_program() { HEADER_BYTES + PREFIX_BYTES } else { HEADER_BYTES } as u32)
}

/// Bytes of a whole record on flash.
pub(crate) const fn span<F: Flash>(kind: Kind, length: u32) -> u32 {
    let tail = if kind.has_payload() { up::<F>(length).saturating_add(up::<F>(COMMIT_BYTES as u32)) } else { 0 };
    head_bytes::<F>(kind).saturating_add(tail)
}

/// The header of a bank, to be programmed in two copies when everything else in the bank is there.
pub(crate) fn bank_header(generation: u32) -> [u8; BANK_HEADER_BYTES] {
    let mut bytes = [0; BANK_HEADER_BYTES];
    put_words(&mut bytes, &[BANK_MAGIC, generation, !generation]);
    seal(&mut bytes);
    bytes
}

/// The generation in copy 0 or 1 of a bank's header, when that copy is whole.
pub(crate) fn bank_generation<F: Flash>(flash: &F, bank: Bank, copy: u32) -> Option<u32> {
    let mut bytes = [0; BANK_HEADER_BYTES];
    let offset = copy * up::<F>(BANK_HEADER_BYTES as u32);
    flash.read(bank, offset, &mut bytes).ok()?;
    let generation = word(&bytes, 4);
    (bytes == bank_header(generation)).then_some(generation)
}

/// Where copy 1 of a bank's header lies.
pub(crate) const fn second_copy<F: Flash>() -> u32 {
    up::<F>(BANK_HEADER_BYTES as u32)
}

/// Whether these bytes of flash are erased; a unit that cannot be read is not.
pub(crate) fn is_blank<F: Flash>(flash: &F, bank: Bank, offset: u32, length: u32) -> bool {
    each_chunk(flash, bank, offset, length, |bytes| bytes.iter().all(|&byte| byte == 0xFF)).unwrap_or(false)
}

/// The CRC of bytes on flash.
pub(crate) fn add_crc<F: Flash>(
    flash: &F,
    bank: Bank,
    offset: u32,
    length: u32,
    crc: &mut Crc,
) -> Result<(), FlashError> {
    each_chunk(flash, bank, offset, length, |bytes| {
        crc.update(bytes);
        true
    })
    .map(|_| ())
}

/// Call `visit` with pieces of the flash, in order, until it returns false; whether it never did.
pub(crate) fn each_chunk<F: Flash>(
    flash: &F,
    bank: Bank,
    offset: u32,
    length: u32,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Result<bool, FlashError> {
    let mut chunk = [0; CHUNK_BYTES];
    let mut done = 0;
    while done < length {
        let count = (length - done).min(CHUNK_BYTES as u32);
        let bytes = chunk.get_mut(..count as usize).ok_or(FlashError)?;
        flash.read(bank, offset.saturating_add(done), bytes)?;
        if !visit(bytes) {
            return Ok(false);
        }
        done += count;
    }
    Ok(true)
}

/// What lies at `offset` of the log in `bank`.
pub(crate) fn find<F: Flash>(flash: &F, bank: Bank, offset: u32) -> Found {
    let end = flash.bank_bytes();
    let head = up::<F>(HEADER_BYTES as u32);
    if offset.saturating_add(head) > end || is_blank(flash, bank, offset, head) {
        return Found::Blank;
    }
    let mut bytes = [0; HEADER_BYTES];
    if flash.read(bank, offset, &mut bytes).is_err() {
        return Found::Torn;
    }
    let Some(header) = Header::decode(&bytes) else {
        return Found::Torn;
    };
    let next = offset.saturating_add(span::<F>(header.kind, header.length));
    if next > end {
        return Found::Torn;
    }
    let committed = !header.kind.has_payload() || is_committed(flash, bank, &header, next).unwrap_or(false);
    Found::Record { header, committed, next }
}

/// Whether the commit of a record is there; the payload itself is for `is_intact`.
fn is_committed<F: Flash>(flash: &F, bank: Bank, header: &Header, next: u32) -> Result<bool, FlashError> {
    let mut commit = [0; COMMIT_BYTES];
    flash.read(bank, next - up::<F>(COMMIT_BYTES as u32), &mut commit)?;
    Ok(commit == header.commit(word(&commit, 0)))
}

/// Whether the payload of a committed record is what was written.
pub(crate) fn is_intact<F: Flash>(flash: &F, bank: Bank, offset: u32, header: &Header) -> bool {
    if !header.kind.has_payload() {
        return true;
    }
    let next = offset + span::<F>(header.kind, header.length);
    let mut payload_crc = [0; 4];
    let at = next - up::<F>(COMMIT_BYTES as u32);
    let mut crc = Crc::new();
    if header.kind.is_program() {
        let prefix = offset + HEADER_BYTES as u32;
        if add_crc(flash, bank, prefix, PREFIX_BYTES as u32, &mut crc).is_err() {
            return false;
        }
    }
    let payload = offset + head_bytes::<F>(header.kind);
    add_crc(flash, bank, payload, header.length, &mut crc).is_ok()
        && flash.read(bank, at, &mut payload_crc).is_ok()
        && crc.value() == u32::from_le_bytes(payload_crc)
}
