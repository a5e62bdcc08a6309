//! Bytes that the firmware keeps for a rule: its parameters and its durable state.

use crate::crc::Crc;
use crate::flash::Flash;
use crate::log;
use crate::record::{COMMIT_BYTES, Header, Kind};
use crate::store::{Store, StoreError};
use crate::work::Compaction;
use crate::write::Begin;

impl<F: Flash, const UNIT: usize> Store<F, UNIT> {
    /// Prepare to keep so many bytes; does at most one slow step, so that the scan can go on in between. When that takes
    /// cleaning up, a program that is being received is dropped.
    pub fn prepare_keep(&mut self, length: u32) -> Result<Begin, StoreError> {
        self.make_room(Self::data_bytes(length), Compaction::NO_PLACE)
    }

    /// Keep bytes for the rule of a place, instead of those from before. All or nothing across a power cut. They stay when
    /// the rule gets another program, so say in them what they are of. It wears the flash: call it when the bytes changed,
    /// and not at every scan.
    pub fn keep(&mut self, place: u8, bytes: &[u8]) -> Result<(), StoreError> {
        let length = bytes.len() as u32;
        if length > F::DATA_BYTES_MAX {
            return Err(StoreError::TooBig);
        }
        if self.slots(place) & 1 == 0 {
            return Err(StoreError::Order);
        }
        self.compact(Self::data_bytes(length))?;
        let header = Header { kind: Kind::Data, place, length, sequence: 0, key: 0 };
        let span = log::span::<F>(Kind::Data, length);
        let at = self.tail;
        self.tail += span;
        let done = self.write_data(at, &header, bytes);
        self.clean &= done.is_ok();
        done
    }

    /// Room for so many bytes, and for the marks that never have to wait.
    fn data_bytes(length: u32) -> u32 {
        log::span::<F>(Kind::Data, length) + Self::reserved_bytes()
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

    /// The bytes that were kept for the rule of a place.
    pub fn kept(&self, place: u8) -> Option<&[u8]> {
        let mut found = None;
        self.each_record(log::log_start::<F>(), |header, offset, committed| {
            if !committed || header.place != place {
                return true;
            }
            match header.kind {
                Kind::Removed => found = None,
                Kind::Data => {
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
