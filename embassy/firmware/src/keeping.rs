//! Parameters and state across restarts: written to flash when they changed, but not too often, for flash wears out.
//! docs/serial-link.md, State.

use eyeflow_link::Level;
use eyeflow_slots::{Begin, Flash, PLACES, Store, StoreError};
use eyeflow_state::digest;

use crate::board::{SAVE_S, SCAN_MS};
use crate::outbox::Outbox;
use crate::place::{RECORD_BYTES, WORK_WORDS};
use crate::runtime::Runtime;

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
}

/// The memory of executions as bytes: nobody else uses it between them.
fn as_bytes(words: &mut [u64; WORK_WORDS]) -> &mut [u8] {
    // SAFETY: the bytes are those of the words, borrowed as long, and every bit pattern is a valid byte and a valid word.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), RECORD_BYTES) }
}

impl Runtime {
    /// The record of a place, and its digest; empty without a program.
    #[inline(never)]
    fn record_of(&mut self, place: u8) -> (&[u8], u32) {
        let bytes = as_bytes(self.work_words);
        let length = self.places.get_mut(usize::from(place)).map_or(0, |target| target.record(self.told, bytes));
        let record = bytes.get(..length).unwrap_or(&[]);
        (record, digest(record))
    }

    /// Note what flash holds of a place: what was just read from there.
    pub fn note_kept(&mut self, place: u8) {
        let (_, found) = self.record_of(place);
        if let Some(target) = self.places.get_mut(usize::from(place)) {
            target.kept = found;
        }
    }

    /// Keep what a place holds, if it is not what flash holds. Without `at_once` in steps: true says that it is to be called
    /// again in the next scan.
    pub fn keep<F: Flash, const UNIT: usize>(
        &mut self,
        store: &mut Store<F, UNIT>,
        place: u8,
        at_once: bool,
        now_s: u32,
    ) -> Result<bool, StoreError> {
        let (record, found) = self.record_of(place);
        let length = record.len();
        let Some(target) = self.places.get_mut(usize::from(place)).filter(|target| target.kept != found) else {
            return Ok(false);
        };
        if length == 0 {
            return Ok(false);
        }
        if !at_once && store.prepare_keep(length as u32)? != Begin::Ready {
            return Ok(true);
        }
        // Whether it succeeds or not, the next attempt comes when it is due again.
        target.due_s = now_s + SAVE_S;
        store.keep(place, as_bytes(self.work_words).get(..length).unwrap_or(&[]))?;
        target.kept = found;
        Ok(false)
    }

    /// At the end of a scan: keep what changed, of one place at a time, and when it is due.
    #[inline(never)]
    pub fn tend(&mut self, store: &mut crate::area::Store, outbox: &mut Outbox, now_us: u64) {
        self.turn.scans -= 1;
        if self.turn.scans > 0 {
            return;
        }
        let place = self.turn.place;
        let now_s = (now_us / 1_000_000) as u32;
        let due = self.places.get(usize::from(place)).is_some_and(|target| now_s >= target.due_s);
        let kept = if due { self.keep(store, place, false, now_s) } else { Ok(false) };
        self.turn = match kept {
            Ok(true) => Turn { place, scans: 1 },
            _ => Turn { place: (place + 1) % PLACES as u8, scans: TURN_SCANS },
        };
        if kept.is_err() {
            eyeflow_link::log(Level::Error, b"state cannot be kept", &mut |frame| outbox.push(frame));
        }
        self.refresh(store, now_us);
    }
}
