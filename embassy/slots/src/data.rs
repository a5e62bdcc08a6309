//! Bytes that the firmware keeps for a rule: its durable state and its parameters.

use crate::crc::Crc;
use crate::flash::Flash;
use crate::log;
use crate::record::{COMMIT_BYTES, Header, Kind};
use crate::store::{Store, StoreError};
use crate::write::{DATA_BYTES_MAX, DATA_TAGS};

impl<F: Flash, const UNIT: usize> Store<F, UNIT> {
    /// Keep bytes for the rule of a place under a tag (0 or 1), instead of those from before. All or nothing across a
    /// power cut. They stay when the rule gets another program, so say in them which one they are of. It wears the flash:
    /// call it when the bytes changed, and not at every scan.
    pub fn keep(&mut self, place: u8, tag: u8, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() as u32 > DATA_BYTES_MAX || u32::from(tag) >= DATA_TAGS {
            return Err(StoreError::TooBig);
        }
        if self.current_key(place).is_none() {
            return Err(StoreError::Order);
        }
        let header = Header { kind: Kind::Data, place, length: bytes.len() as u32, sequence: 0, key: u64::from(tag) };
        let span = log::span::<F>(Kind::Data, header.length);
        let need = span + Self::reserved_bytes();
        if self.is_compacting() || !self.has_room(need) {
            self.compact(need)?;
        }
        let at = self.tail;
        self.tail += span;
        let done = self.write_data(at, &header, bytes);
        self.clean &= done.is_ok();
        done
    }

    fn write_data(&mut self, at: u32, header: &Header, bytes: &[u8]) -> Result<(), StoreError> {
        let payload = at + log::head_bytes::<F>(Kind::Data);
        let commit = self.tail - log::up::<F>(COMMIT_BYTES as u32);
        let mut crc = Crc::new();
        crc.update(bytes);
        self.program_padded(self.bank, at, &header.encode())?;
        self.program_padded(self.bank, payload, bytes)?;
        Ok(self.program_padded(self.bank, commit, &header.commit(crc.value()))?)
    }

    /// The bytes that were kept for the rule of a place under a tag.
    pub fn kept(&self, place: u8, tag: u8) -> Option<&[u8]> {
        let mut found = None;
        self.each_record(log::log_start::<F>(), |header, offset, committed| {
            if !committed || header.place != place {
                return true;
            }
            match header.kind {
                Kind::Removed => found = None,
                Kind::Data if header.key == u64::from(tag) => {
                    let whole = log::is_intact(&self.flash, self.bank, offset, header);
                    found = whole.then_some((offset, header.length)).or(found);
                }
                _ => {}
            }
            true
        });
        let (offset, length) = found?;
        let at = offset + log::head_bytes::<F>(Kind::Data);
        self.flash.mapped(self.bank, at, length).ok()
    }
}
