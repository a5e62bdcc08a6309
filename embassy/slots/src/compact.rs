//! Cleaning up: the records that still matter move to the other bank, whose header comes last.

use crate::flash::{Bank, Flash};
use crate::log::{self, Found};
use crate::record::{Header, Kind};
use crate::store::{NOWHERE, PLACES, Store, StoreError, names_rule};
use crate::work::{Compaction, Work};

/// Rules whose floor survives the removal of their programs.
pub(crate) const FLOORS_MAX: u32 = 8;

/// About what one step moves, for an answer how many are left.
const STEP_BYTES: u32 = 1024;

/// What becomes of a record.
enum Fate {
    Drop,
    Keep,
    /// Only the floor of the rule stays.
    Floor,
}

impl<F: Flash, const UNIT: usize> Store<F, UNIT> {
    /// Plan to make room for `need` bytes. Gives up only what it must: first what is staged in `place` and the program before
    /// the running one there, for it gets another program, then the ones before in places with a staged program.
    pub(crate) fn plan(&self, need: u32, place: u8) -> Result<Compaction, StoreError> {
        let own = if usize::from(place) < PLACES { 1 << place } else { 0_u8 };
        let others = self.places.iter().rev().fold(0, |bits, found| bits << 1 | u8::from(found.staged != NOWHERE));
        for dropped in [0, own << 4 | own, own << 4 | own | others] {
            let live = log::log_start::<F>() + self.live_bytes(dropped);
            if live.saturating_add(need) <= self.flash.bank_bytes() {
                return Ok(Compaction {
                    erased: 0,
                    source: log::log_start::<F>(),
                    target: log::log_start::<F>(),
                    dropped,
                });
            }
        }
        Err(StoreError::Full)
    }

    fn live_bytes(&self, dropped: u8) -> u32 {
        let mut bytes = 0;
        self.each_record(log::log_start::<F>(), |header, offset, committed| {
            bytes += match self.fate(header, offset, committed, dropped) {
                Fate::Drop => 0,
                Fate::Keep => log::span::<F>(header.kind, header.length),
                Fate::Floor => log::span::<F>(Kind::Floor, 0),
            };
            true
        });
        bytes
    }

    /// One step: erase one sector, or move one record and drop those before it, or finish. Returns about how many are left.
    pub(crate) fn step(&mut self) -> Result<u32, StoreError> {
        let Work::Compacting(mut work) = self.work else {
            return Err(StoreError::Order);
        };
        let target = self.bank.other();
        let sectors = self.flash.sectors(target);
        let done = if work.erased < sectors {
            work.erased += 1;
            self.flash.erase(target, work.erased - 1).map_err(Into::into)
        } else if work.source < self.tail {
            self.move_record(&mut work)
        } else {
            return self.use_bank(target).map(|()| 0);
        };
        // A failed step starts everything again: the bank in use was not touched.
        self.work = match done {
            Ok(()) => Work::Compacting(work),
            Err(_) => Work::Idle,
        };
        let left = self.tail.saturating_sub(work.source).div_ceil(STEP_BYTES);
        done.map(|()| sectors - work.erased + left + 1)
    }

    /// Move the first record from `work.source` on that still matters.
    fn move_record(&mut self, work: &mut Compaction) -> Result<(), StoreError> {
        while work.source < self.tail {
            let Found::Record { header, committed, next } = log::find(&self.flash, self.bank, work.source) else {
                work.source = self.tail;
                return Ok(());
            };
            let source = core::mem::replace(&mut work.source, next);
            let target = work.target;
            match self.fate(&header, source, committed, work.dropped) {
                Fate::Drop => continue,
                Fate::Keep => {
                    work.target += next - source;
                    return self.copy(source, target, next - source);
                }
                Fate::Floor => {
                    let floor = Header { kind: Kind::Floor, length: 0, ..header };
                    work.target += log::span::<F>(Kind::Floor, 0);
                    return Ok(self.program_padded(self.bank.other(), target, &floor.encode())?);
                }
            }
        }
        Ok(())
    }

    /// Copy whole units to the other bank and read them back.
    fn copy(&mut self, source: u32, target: u32, length: u32) -> Result<(), StoreError> {
        let mut done = 0;
        while done < length {
            let mut unit = [0; UNIT];
            let mut back = [0; UNIT];
            self.flash.read(self.bank, source + done, &mut unit)?;
            let other = self.bank.other();
            self.flash.program(other, target + done, &unit)?;
            self.flash.read(other, target + done, &mut back)?;
            if unit != back {
                return Err(StoreError::Flash);
            }
            done += UNIT as u32;
        }
        Ok(())
    }

    /// The header of the new bank comes last: from here on it is the one in use.
    fn use_bank(&mut self, target: Bank) -> Result<(), StoreError> {
        self.work = Work::Idle;
        let bytes = log::bank_header(self.generation + 1);
        self.program_padded(target, 0, &bytes)?;
        self.program_padded(target, log::second_copy::<F>(), &bytes)?;
        self.generation += 1;
        self.bank = target;
        self.scan();
        Ok(())
    }

    fn fate(&self, header: &Header, offset: u32, committed: bool, dropped: u8) -> Fate {
        let place = self.places.get(usize::from(header.place));
        let Some(place) = place.filter(|_| committed) else {
            return Fate::Drop;
        };
        let before = place.previous == offset && dropped >> header.place & 1 == 0;
        let staged = place.staged == offset && dropped >> header.place & 0x10 == 0;
        match header.kind {
            Kind::Program | Kind::Staged if place.current == offset || before || staged => Fate::Keep,
            Kind::Program | Kind::Staged | Kind::Removed | Kind::Floor => self.floor_fate(header, offset),
            Kind::Good | Kind::Trial | Kind::Switched if self.is_kept(place.current, header.key) => Fate::Keep,
            Kind::Good | Kind::Switched if self.is_kept(place.previous, header.key) => Fate::Keep,
            Kind::Data if place.current != NOWHERE && !self.is_superseded(header, offset) => Fate::Keep,
            _ => Fate::Drop,
        }
    }

    fn is_kept(&self, offset: u32, key: u64) -> bool {
        self.key_at(offset) == Some(key)
    }

    /// Whether a later record replaces these data of the firmware.
    fn is_superseded(&self, header: &Header, offset: u32) -> bool {
        let mut found = false;
        let next = offset + log::span::<F>(header.kind, header.length);
        self.each_record(next, |later, _, committed| {
            found |= committed && later.place == header.place && matches!(later.kind, Kind::Data | Kind::Removed);
            !found
        });
        found
    }

    /// A floor stays unless another record keeps it, and only the newest few do.
    fn floor_fate(&self, header: &Header, offset: u32) -> Fate {
        let mut needed = true;
        let mut newer = 0;
        self.each_record(log::log_start::<F>(), |other, at, committed| {
            if !committed || !names_rule(other) || at == offset {
                return true;
            }
            if other.key == header.key {
                let later = at > offset && other.sequence == header.sequence;
                needed &= !(later || other.sequence > header.sequence);
            } else if at > offset && !other.kind.is_program() {
                newer += 1;
            }
            needed
        });
        match needed && newer < FLOORS_MAX {
            true => Fate::Floor,
            false => Fate::Drop,
        }
    }
}
