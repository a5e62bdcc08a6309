//! Parameters and state across restarts: written to flash when they changed, but not too often, for flash wears out.
//! docs/serial-link.md, State.

use eyeflow_slots::{Begin, Flash, PLACES, Store, StoreError};
use eyeflow_state::digest;

use crate::board::{SAVE_S, SCAN_MS};
use crate::place::{Place, RECORD_BYTES, WORK_WORDS};

/// One place is looked at each second.
const TURN_SCANS: u32 = if SCAN_MS > 1000 { 1 } else { (1000 / SCAN_MS) as u32 };

/// Whose turn it is, and in how many scans.
#[derive(Clone, Copy)]
pub struct Turn {
    place: u8,
    scans: u32,
}

impl Turn {
    pub const FIRST: Self = Self { place: 0, scans: TURN_SCANS };

    /// At the end of a scan: the place that is to be looked at now.
    pub fn next(&mut self) -> Option<u8> {
        self.scans -= 1;
        (self.scans == 0).then_some(self.place)
    }

    /// Say what came of it: whether the place is to be looked at again in the next scan.
    pub fn ended(&mut self, again: bool) {
        *self = match again {
            true => Turn { place: self.place, scans: 1 },
            false => Turn { place: (self.place + 1) % PLACES as u8, scans: TURN_SCANS },
        };
    }
}

/// The memory of executions as bytes: nobody else uses it between them.
fn as_bytes(words: &mut [u64; WORK_WORDS]) -> &mut [u8] {
    // SAFETY: the bytes are those of the words, borrowed as long, and every bit pattern is a valid byte and a valid word.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), RECORD_BYTES) }
}

/// The memory that keeping works in, and whether a host told the time.
pub struct Keeper<'a> {
    pub words: &'a mut [u64; WORK_WORDS],
    pub told: bool,
}

impl Keeper<'_> {
    /// The record of a place, and its digest; empty without a program.
    #[inline(never)]
    fn record_of(&mut self, target: &mut Place) -> (&[u8], u32) {
        let bytes = as_bytes(self.words);
        let length = target.record(self.told, bytes);
        let record = bytes.get(..length).unwrap_or(&[]);
        (record, digest(record))
    }

    /// Note what flash holds of a place: what was just read from there.
    pub fn note_kept(&mut self, target: &mut Place) {
        target.kept = self.record_of(target).1;
    }

    /// Keep what a place holds, if it is not what flash holds. Without `at_once` in steps: true says that it is to be called
    /// again in the next scan.
    pub fn keep<F: Flash, const UNIT: usize>(
        &mut self,
        target: &mut Place,
        store: &mut Store<F, UNIT>,
        place: u8,
        at_once: bool,
        now_s: u32,
    ) -> Result<bool, StoreError> {
        let (record, found) = self.record_of(target);
        let length = record.len();
        if target.kept == found || length == 0 {
            return Ok(false);
        }
        if !at_once && store.prepare_keep(length as u32)? != Begin::Ready {
            return Ok(true);
        }
        // Whether it succeeds or not, the next attempt comes when it is due again.
        target.due_s = now_s + SAVE_S;
        store.keep(place, as_bytes(self.words).get(..length).unwrap_or(&[]))?;
        target.kept = found;
        Ok(false)
    }
}
