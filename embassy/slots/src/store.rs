//! The store: which program runs in which place, found by reading the log of the newer bank at boot.

use crate::flash::{Bank, Flash, FlashError};
use crate::log::{self, Found};
use crate::record::{HEADER_BYTES, Header, ID_BYTES, Kind, NAME_BYTES_MAX, double, rule_key};
use crate::work::Work;

/// Programs that one board runs.
pub const PLACES: usize = 4;
/// Starts of a program on probation before the one before it comes back: it may have taken the board down.
pub const TRIALS_MAX: u8 = 3;

/// No record: the header of the bank is there.
pub(crate) const NOWHERE: u32 = 0;

/// Why the store refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The flash failed.
    Flash,
    /// The program is longer than `program_bytes_max`.
    TooBig,
    /// No room is left, also after cleaning up.
    Full,
    /// The call does not fit what was called before: no program is open, or more bytes than announced.
    Order,
}

impl From<FlashError> for StoreError {
    fn from(_: FlashError) -> Self {
        StoreError::Flash
    }
}

/// What one place holds, as offsets into the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) current: u32,
    pub(crate) previous: u32,
    pub(crate) staged: u32,
    pub(crate) trials: u8,
    pub(crate) good: bool,
    pub(crate) previous_good: bool,
}

impl Place {
    pub(crate) const EMPTY: Self =
        Self { current: NOWHERE, previous: NOWHERE, staged: NOWHERE, trials: 0, good: false, previous_good: false };

    /// A new program takes the place, and whatever was staged there goes. Last known good stays what has proved itself,
    /// when there is such a program.
    fn install(&mut self, offset: u32) {
        if self.good || self.previous == NOWHERE {
            self.previous = self.current;
            self.previous_good = self.good;
        }
        self.current = offset;
        self.staged = NOWHERE;
        self.good = false;
        self.trials = 0;
    }

    /// The program that the place belongs to: the one that runs, else the one that is staged.
    fn taken_by(&self) -> u32 {
        if self.current == NOWHERE { self.staged } else { self.current }
    }

    /// The program before runs again.
    fn fall_back(&mut self) {
        self.current = self.previous;
        self.good = self.previous_good;
        self.previous = NOWHERE;
        self.previous_good = false;
        self.trials = 0;
    }
}

/// Which program of a place is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Slot {
    /// The one that runs.
    Running = 0,
    /// The one before it.
    Previous = 1,
    /// The one that waits.
    Staged = 2,
}

/// One program in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its bytes start, in the bank in use.
    pub offset: u32,
    /// How many bytes it has.
    pub length: u32,
    /// Its anti-rollback sequence.
    pub sequence: u64,
    /// The SHA-256 of its signed bytes.
    pub id: [u8; ID_BYTES],
    /// Whether it has proved itself.
    pub good: bool,
}

/// Up to four programs on flash, each with the one before it. `UNIT` is `F::UNIT`.
///
/// RAM: the fields below, about 150 bytes and one unit.
#[derive(Debug)]
pub struct Store<F: Flash, const UNIT: usize> {
    pub(crate) flash: F,
    pub(crate) bank: Bank,
    pub(crate) generation: u32,
    pub(crate) tail: u32,
    /// Whether records may be appended: not after a tail that a power cut may have left half programmed.
    pub(crate) clean: bool,
    pub(crate) places: [Place; PLACES],
    pub(crate) work: Work,
    pub(crate) staging: [u8; UNIT],
}

impl<F: Flash, const UNIT: usize> Store<F, UNIT> {
    const UNITS_AGREE: () = assert!(UNIT == F::UNIT && UNIT.is_power_of_two() && UNIT >= 4);

    /// Find out what the flash holds. An empty or foreign flash holds no program and is prepared by the first write.
    pub fn open(flash: F) -> Self {
        let () = Self::UNITS_AGREE;
        let mut store = Self {
            flash,
            bank: Bank::B,
            generation: 0,
            tail: log::log_start::<F>(),
            clean: false,
            places: [Place::EMPTY; PLACES],
            work: Work::Idle,
            staging: [0xFF; UNIT],
        };
        store.choose_bank();
        store.scan();
        store
    }

    /// Take the bank of the newer generation, and make its header safe to rely on.
    fn choose_bank(&mut self) {
        for bank in [Bank::A, Bank::B] {
            let first = log::bank_generation(&self.flash, bank, 0);
            let found = first.or(log::bank_generation(&self.flash, bank, 1));
            if let Some(generation) = found.filter(|&generation| generation > self.generation) {
                self.bank = bank;
                self.generation = generation;
            }
        }
        self.confirm_bank();
    }

    /// A power cut after the first copy of the bank's header may have left that copy weak: write the second one before
    /// anything relies on it.
    fn confirm_bank(&mut self) {
        let second = log::second_copy::<F>();
        if self.generation > 0 && log::is_blank(&self.flash, self.bank, second, UNIT as u32) {
            let bytes = log::bank_header(self.generation);
            // When this fails the first copy still stands, and the next boot tries again.
            let _ = self.program_padded(self.bank, second, &bytes);
        }
    }

    /// Program bytes in whole units, the last one filled up with ones.
    pub(crate) fn program_padded(&mut self, bank: Bank, mut offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        for piece in bytes.chunks(UNIT) {
            let mut unit = [0xFF; UNIT];
            for (target, &byte) in unit.iter_mut().zip(piece) {
                *target = byte;
            }
            self.flash.program(bank, offset, &unit)?;
            offset += UNIT as u32;
        }
        Ok(())
    }

    /// Read the log of the bank in use from its start.
    pub(crate) fn scan(&mut self) {
        self.places = [Place::EMPTY; PLACES];
        self.tail = log::log_start::<F>();
        self.clean = self.generation > 0;
        while self.generation > 0 {
            match log::find(&self.flash, self.bank, self.tail) {
                Found::Blank => break,
                Found::Torn => {
                    self.clean = false;
                    break;
                }
                Found::Record { header, committed, next } => {
                    let whole = committed && log::is_intact(&self.flash, self.bank, self.tail, &header);
                    self.clean = whole;
                    if whole {
                        self.apply(&header, self.tail);
                    }
                    self.tail = next;
                }
            }
        }
    }

    /// What a record changes.
    pub(crate) fn apply(&mut self, header: &Header, offset: u32) {
        let meant = self.key_meant(header.kind, header.place) == Some(header.key);
        let Some(place) = self.places.get_mut(usize::from(header.place)) else {
            return;
        };
        match header.kind {
            Kind::Program => place.install(offset),
            Kind::Staged => place.staged = offset,
            Kind::Switched if meant => place.install(place.staged),
            Kind::Dropped if meant => place.staged = NOWHERE,
            Kind::Trial if meant => place.trials = place.trials.saturating_add(1),
            Kind::Good if meant => place.good = true,
            Kind::Faulted if meant => place.fall_back(),
            Kind::Removed => *place = Place::EMPTY,
            _ => {}
        }
    }

    /// The first bytes of the id of the program that a mark of this kind is about: the staged or the running one.
    pub(crate) fn key_meant(&self, kind: Kind, place: u8) -> Option<u64> {
        let place = self.places.get(usize::from(place))?;
        let of_staged = matches!(kind, Kind::Switched | Kind::Dropped);
        self.key_at(if of_staged { place.staged } else { place.current })
    }

    pub(crate) fn key_at(&self, offset: u32) -> Option<u64> {
        if offset == NOWHERE {
            return None;
        }
        let mut bytes = [0; 8];
        let at = offset + HEADER_BYTES as u32;
        self.flash.read(self.bank, at, &mut bytes).ok()?;
        Some(double(&bytes, 0))
    }

    fn entry_at(&self, offset: u32, good: bool) -> Option<Entry> {
        if offset == NOWHERE {
            return None;
        }
        let mut bytes = [0; HEADER_BYTES];
        self.flash.read(self.bank, offset, &mut bytes).ok()?;
        let header = Header::decode(&bytes)?;
        let mut id = [0; ID_BYTES];
        let at = offset + HEADER_BYTES as u32;
        self.flash.read(self.bank, at, &mut id).ok()?;
        Some(Entry {
            offset: offset + log::head_bytes::<F>(header.kind),
            length: header.length,
            sequence: header.sequence,
            id,
            good,
        })
    }

    /// The program in a slot of a place (0 to 3).
    pub fn entry_in(&self, place: u8, slot: Slot) -> Option<Entry> {
        let place = self.places.get(usize::from(place))?;
        match slot {
            Slot::Running => self.entry_at(place.current, place.good),
            Slot::Previous => self.entry_at(place.previous, place.previous_good),
            Slot::Staged => self.entry_at(place.staged, false),
        }
    }

    /// The program that runs in a place.
    pub fn entry(&self, place: u8) -> Option<Entry> {
        self.entry_in(place, Slot::Running)
    }

    /// The program that comes back when the one of this place fails.
    pub fn previous(&self, place: u8) -> Option<Entry> {
        self.entry_in(place, Slot::Previous)
    }

    /// The program that waits in the second slot of a place.
    pub fn staged(&self, place: u8) -> Option<Entry> {
        self.entry_in(place, Slot::Staged)
    }

    /// Which slots of a place hold a program, one bit each, as `Slot` numbers them.
    pub fn slots(&self, place: u8) -> u8 {
        let found = self.places.get(usize::from(place)).map_or(Place::EMPTY, |found| *found);
        let bit = |offset, slot| u8::from(offset != NOWHERE) << slot as u8;
        bit(found.current, Slot::Running) | bit(found.previous, Slot::Previous) | bit(found.staged, Slot::Staged)
    }

    /// The place that has the program with this id in a slot.
    #[inline(never)]
    pub fn place_with(&self, id: &[u8; ID_BYTES], slot: Slot) -> Option<u8> {
        (0..PLACES as u8).find(|&place| self.entry_in(place, slot).is_some_and(|entry| entry.id == *id))
    }

    /// The bytes of the program that runs in a place, where they lie on flash. They move when the store cleans up:
    /// fetch them again when `generation` has changed.
    pub fn program(&self, place: u8) -> Option<&[u8]> {
        self.bytes_of(&self.entry(place)?)
    }

    /// The bytes of a program in the store; see `program`.
    pub fn bytes_of(&self, entry: &Entry) -> Option<&[u8]> {
        self.flash.mapped(self.bank, entry.offset, entry.length).ok()
    }

    /// Copy the name of the rule in a place, also of one that is only staged; returns its length, 0 for an empty place.
    pub fn name(&self, place: u8, name: &mut [u8; NAME_BYTES_MAX]) -> usize {
        self.places.get(usize::from(place)).map_or(0, |found| self.name_at(found.taken_by(), name))
    }

    pub(crate) fn name_at(&self, offset: u32, name: &mut [u8; NAME_BYTES_MAX]) -> usize {
        if offset == NOWHERE {
            return 0;
        }
        let at = offset + (HEADER_BYTES + ID_BYTES) as u32;
        let mut length = [0];
        let read = self.flash.read(self.bank, at, &mut length);
        if read.is_err() || self.flash.read(self.bank, at + 1, name).is_err() {
            return 0;
        }
        usize::from(length[0]).min(NAME_BYTES_MAX)
    }

    /// The place in which a rule runs, or is staged.
    pub fn place_of(&self, rule: &[u8]) -> Option<u8> {
        let mut name = [0; NAME_BYTES_MAX];
        (0..PLACES as u8).find(|&place| {
            let length = self.name(place, &mut name);
            length > 0 && name.get(..length) == Some(rule)
        })
    }

    /// The first place without a program.
    pub fn free_place(&self) -> Option<u8> {
        (0..PLACES as u8).find(|&place| {
            let found = self.places.get(usize::from(place));
            found.is_some_and(|found| found.taken_by() == NOWHERE)
        })
    }

    /// The lowest sequence that the board still takes of a rule: that of the newest program it ever committed of it.
    pub fn floor(&self, rule: &[u8]) -> u64 {
        let wanted = rule_key(rule);
        let mut floor = 0;
        self.each_record(log::log_start::<F>(), |header, _, committed| {
            if committed && names_rule(header) && header.key == wanted {
                floor = floor.max(header.sequence);
            }
            true
        });
        floor
    }

    /// Call `visit` with the records from `offset` on until it returns false.
    pub(crate) fn each_record(&self, mut offset: u32, mut visit: impl FnMut(&Header, u32, bool) -> bool) {
        while offset < self.tail {
            let Found::Record { header, committed, next } = log::find(&self.flash, self.bank, offset) else {
                return;
            };
            if !visit(&header, offset, committed) {
                return;
            }
            offset = next;
        }
    }

    /// How often the programs moved: addresses from before a change are void.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Bytes of the log that are used, of those that it may have.
    pub fn used_bytes(&self) -> (u32, u32) {
        (self.tail, self.flash.bank_bytes())
    }

    /// The flash itself.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// Give the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }
}

/// Whether a header's key is the key of a rule, and its sequence one that was accepted.
pub(crate) const fn names_rule(header: &Header) -> bool {
    header.kind.is_program() || matches!(header.kind, Kind::Removed | Kind::Floor)
}
