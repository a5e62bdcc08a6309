//! Writing: receiving a program, its commit, and the marks that decide which program runs.

use crate::compact::FLOORS_MAX;
use crate::crc::Crc;
use crate::flash::Flash;
use crate::log;
use crate::record::{COMMIT_BYTES, HEADER_BYTES, Header, ID_BYTES, Kind, NAME_BYTES_MAX, PREFIX_BYTES, rule_key};
use crate::store::{NOWHERE, PLACES, Store, StoreError, TRIALS_MAX};
use crate::work::{Compaction, Open, Work};

/// Records without a payload that always find room, so that a mark never has to wait for an erase right away.
const MARKS_RESERVED: u32 = 8;

/// What the sender says about a program before it sends it. Nothing of it is believed until the program itself says the
/// same; see the link's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The name of the rule.
    pub rule: &'a [u8],
    /// The SHA-256 of the signed bytes.
    pub id: &'a [u8; ID_BYTES],
    /// The anti-rollback sequence.
    pub sequence: u64,
    /// Bytes of the whole program, with signatures.
    pub length: u32,
    /// Whether it shall wait in the second slot of its place until `switch`.
    pub staged: bool,
}

/// A claim as the store remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The SHA-256 of the signed bytes.
    pub id: [u8; ID_BYTES],
    /// The anti-rollback sequence.
    pub sequence: u64,
    /// The `rule_key` of the rule's name.
    pub rule: u64,
}

/// The answer to `begin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Write the program now.
    Ready,
    /// The flash is being cleaned up: call again; about so many calls are left.
    Wait(u32),
}

/// What becomes of a program at a start of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Run it.
    Run,
    /// It never got through its probation; run the one before it, which is now in the place.
    FellBack,
    /// It never got through its probation and there is none before it: keep the outputs safe.
    Stopped,
    /// The place is empty.
    Empty,
}

impl<F: Flash, const UNIT: usize> Store<F, UNIT> {
    /// The longest program that always finds room beside three others, each with the one before it, and beside all that
    /// the firmware keeps for them.
    pub fn program_bytes_max(&self) -> u32 {
        let head = log::span::<F>(Kind::Program, 0);
        // One more: new data are written while the old ones still lie there.
        let data = (PLACES as u32 + 1) * log::span::<F>(Kind::Data, F::DATA_BYTES_MAX);
        let fixed = log::log_start::<F>() + Self::reserved_bytes() + Self::floor_bytes() + data;
        let each = self.flash.bank_bytes().saturating_sub(fixed) / (2 * PLACES as u32);
        each.saturating_sub(head) / UNIT as u32 * UNIT as u32
    }

    const fn floor_bytes() -> u32 {
        FLOORS_MAX * log::span::<F>(Kind::Floor, 0)
    }

    pub(crate) const fn reserved_bytes() -> u32 {
        MARKS_RESERVED * log::span::<F>(Kind::Good, 0)
    }

    /// Prepare to receive a program into a place; does at most one slow step (one sector erased or one record moved),
    /// so that the scan can go on in between. A program that was being received is dropped.
    pub fn begin(&mut self, place: u8, claim: &Claim<'_>) -> Result<Begin, StoreError> {
        if claim.length > self.program_bytes_max() || claim.rule.len() > NAME_BYTES_MAX {
            return Err(StoreError::TooBig);
        }
        self.abandon();
        let need = log::span::<F>(Kind::Program, claim.length) + Self::reserved_bytes();
        match self.make_room(need, place)? {
            Begin::Ready => self.open_record(place, claim).map(|()| Begin::Ready),
            wait => Ok(wait),
        }
    }

    /// See to it that so many bytes can be appended, in at most one slow step.
    pub(crate) fn make_room(&mut self, need: u32, place: u8) -> Result<Begin, StoreError> {
        if !self.is_compacting() {
            if self.has_room(need) {
                return Ok(Begin::Ready);
            }
            self.abandon();
            self.work = Work::Compacting(self.plan(need, place)?);
        }
        self.step().map(Begin::Wait)
    }

    pub(crate) fn has_room(&self, bytes: u32) -> bool {
        self.clean && self.tail.saturating_add(bytes) <= self.flash.bank_bytes()
    }

    fn open_record(&mut self, place: u8, claim: &Claim<'_>) -> Result<(), StoreError> {
        let header = Header {
            kind: if claim.staged { Kind::Staged } else { Kind::Program },
            place,
            length: claim.length,
            sequence: claim.sequence,
            key: rule_key(claim.rule),
        };
        let mut head = [0; HEADER_BYTES + PREFIX_BYTES];
        let (start, prefix) = head.split_at_mut(HEADER_BYTES);
        start.copy_from_slice(&header.encode());
        let (id, name) = prefix.split_at_mut(ID_BYTES);
        id.copy_from_slice(claim.id);
        for (target, &byte) in name.iter_mut().zip([claim.rule.len() as u8].iter().chain(claim.rule)) {
            *target = byte;
        }
        let mut crc = Crc::new();
        crc.update(prefix);
        let base = self.tail;
        self.append(&head, log::span::<F>(Kind::Program, claim.length))?;
        self.work = Work::Open(Open { base, header, written: 0, flushed: false, crc });
        Ok(())
    }

    /// Program bytes at the tail and move the tail on by `span`. After a failure nothing more is appended to this bank.
    fn append(&mut self, bytes: &[u8], span: u32) -> Result<(), StoreError> {
        let at = self.tail;
        self.tail += span;
        let done = self.program_padded(self.bank, at, bytes);
        self.clean &= done.is_ok();
        Ok(done?)
    }

    /// Add bytes to the program that is being received.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Work::Open(mut open) = self.work else {
            return Err(StoreError::Order);
        };
        if bytes.len() as u32 > open.header.length - open.written {
            return Err(StoreError::Order);
        }
        open.crc.update(bytes);
        for &byte in bytes {
            let at = open.written as usize % UNIT;
            if let Some(slot) = self.staging.get_mut(at) {
                *slot = byte;
            }
            open.written += 1;
            if at + 1 == UNIT {
                self.flush(&open)?;
            }
        }
        self.work = Work::Open(open);
        Ok(())
    }

    /// Program the staged unit, in which `open.written` ends.
    fn flush(&mut self, open: &Open) -> Result<(), StoreError> {
        let unit = (open.written - 1) / UNIT as u32 * UNIT as u32;
        let at = open.base + log::head_bytes::<F>(Kind::Program) + unit;
        let done = self.flash.program(self.bank, at, &self.staging);
        self.staging = [0xFF; UNIT];
        if done.is_err() {
            self.clean = false;
            self.work = Work::Idle;
        }
        Ok(done?)
    }

    /// Bytes received so far of the program that is being received, and its length.
    pub const fn progress(&self) -> Option<(u32, u32)> {
        match &self.work {
            Work::Open(open) => Some((open.written, open.header.length)),
            _ => None,
        }
    }

    /// One byte of what was received, for references back into it.
    pub fn received(&self, position: u32) -> Option<u8> {
        let Work::Open(open) = &self.work else {
            return None;
        };
        let flushed = open.written / UNIT as u32 * UNIT as u32;
        if position >= open.written {
            return None;
        }
        if position >= flushed {
            return self.staging.get((position - flushed) as usize).copied();
        }
        let mut byte = [0];
        let at = open.base + log::head_bytes::<F>(Kind::Program) + position;
        self.flash.read(self.bank, at, &mut byte).ok()?;
        Some(byte[0])
    }

    /// Program what is left in RAM and give the whole program, where it lies, to be checked before `commit`.
    pub fn finish(&mut self) -> Result<&[u8], StoreError> {
        let Work::Open(open) = self.work else {
            return Err(StoreError::Order);
        };
        if open.written != open.header.length {
            return Err(StoreError::Order);
        }
        if !(open.written as usize).is_multiple_of(UNIT) && !open.flushed {
            self.flush(&open)?;
            self.work = Work::Open(Open { flushed: true, ..open });
        }
        let at = open.base + log::head_bytes::<F>(Kind::Program);
        Ok(self.flash.mapped(self.bank, at, open.header.length)?)
    }

    /// What was claimed of the program that is being received.
    pub fn claimed(&self) -> Option<Claimed> {
        let Work::Open(open) = &self.work else {
            return None;
        };
        let mut id = [0; ID_BYTES];
        let at = open.base + HEADER_BYTES as u32;
        self.flash.read(self.bank, at, &mut id).ok()?;
        Some(Claimed { id, sequence: open.header.sequence, rule: open.header.key })
    }

    /// Make the received program the one of its place, or the one that is staged there, as was claimed. The commit word is
    /// the very last thing programmed.
    pub fn commit(&mut self) -> Result<u8, StoreError> {
        let Work::Open(open) = self.work else {
            return Err(StoreError::Order);
        };
        self.work = Work::Idle;
        let end = open.base + log::span::<F>(Kind::Program, open.header.length);
        let at = end - log::up::<F>(COMMIT_BYTES as u32);
        let commit = open.header.commit(open.crc.value());
        let done = self.program_padded(self.bank, at, &commit);
        self.clean &= done.is_ok();
        done?;
        self.apply(&open.header, open.base);
        Ok(open.header.place)
    }

    /// Drop the program that is being received.
    pub fn abandon(&mut self) {
        if let Work::Open(_) = self.work {
            self.work = Work::Idle;
        }
    }

    /// Append a record that is only a header, cleaning up first when there is no room.
    fn mark(&mut self, header: &Header) -> Result<(), StoreError> {
        let span = log::span::<F>(header.kind, 0);
        self.compact(span)?;
        let at = self.tail;
        self.append(&header.encode(), span)?;
        self.apply(header, at);
        Ok(())
    }

    /// See to it that so many bytes can be appended, in one go. When that takes cleaning up, a program that is being
    /// received is dropped.
    pub(crate) fn compact(&mut self, need: u32) -> Result<(), StoreError> {
        while self.make_room(need, Compaction::NO_PLACE)? != Begin::Ready {}
        Ok(())
    }

    pub(crate) const fn is_compacting(&self) -> bool {
        matches!(self.work, Work::Compacting(_))
    }

    /// Append a mark of the program that it is about, if there is one.
    fn mark_program(&mut self, kind: Kind, place: u8) -> Result<(), StoreError> {
        let Some(key) = self.key_meant(kind, place) else {
            return Ok(());
        };
        self.mark(&Header { kind, place, length: 0, sequence: 0, key })
    }

    /// The program of this place has proved itself: it is now the last known good one.
    pub fn good(&mut self, place: u8) -> Result<(), StoreError> {
        match self.places.get(usize::from(place)) {
            Some(found) if !found.good => self.mark_program(Kind::Good, place),
            _ => Ok(()),
        }
    }

    /// The program of this place failed too often, or is taken back: go back to the one before it. Returns false, and changes nothing,
    /// when there is none.
    pub fn fault(&mut self, place: u8) -> Result<bool, StoreError> {
        match self.places.get(usize::from(place)) {
            Some(found) if found.previous != NOWHERE => self.mark_program(Kind::Faulted, place).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Run the staged program of this place from now on: the one before it can come back. Without one nothing changes.
    pub fn switch(&mut self, place: u8) -> Result<(), StoreError> {
        self.mark_program(Kind::Switched, place)
    }

    /// Give up the staged program of this place. Programs of its rule that are older stay refused.
    pub fn drop_staged(&mut self, place: u8) -> Result<(), StoreError> {
        self.mark_program(Kind::Dropped, place)
    }

    /// What becomes of a program at a boot that nothing bad led to: power came on, or the host asked for a reset.
    pub fn resume(&self, place: u8) -> Start {
        match self.places.get(usize::from(place)) {
            Some(found) if found.current == NOWHERE => Start::Empty,
            Some(found) if !found.good && found.trials >= TRIALS_MAX => Start::Stopped,
            Some(_) => Start::Run,
            None => Start::Empty,
        }
    }

    /// The same at a boot after the board went down while programs ran (watchdog, fault of the processor). Each such start
    /// of a program on probation is counted on flash, and after `TRIALS_MAX` of them it is given up.
    pub fn start(&mut self, place: u8) -> Result<Start, StoreError> {
        let Some(&found) = self.places.get(usize::from(place)) else {
            return Ok(Start::Empty);
        };
        if found.current == NOWHERE {
            return Ok(Start::Empty);
        }
        if found.good {
            return Ok(Start::Run);
        }
        if found.trials < TRIALS_MAX {
            self.mark_program(Kind::Trial, place)?;
            return Ok(Start::Run);
        }
        Ok(match self.fault(place)? {
            true => Start::FellBack,
            false => Start::Stopped,
        })
    }

    /// Empty a place. Older programs of its rule stay refused.
    pub fn remove(&mut self, place: u8) -> Result<(), StoreError> {
        let mut name = [0; NAME_BYTES_MAX];
        let length = self.name(place, &mut name);
        let Some(rule) = name.get(..length).filter(|rule| !rule.is_empty()) else {
            return Ok(());
        };
        let sequence = self.floor(rule);
        let key = rule_key(rule);
        self.mark(&Header { kind: Kind::Removed, place, length: 0, sequence, key })
    }
}
