//! A simulated flash for tests on a host: erase sets bits, programming clears them, and the power can be cut anywhere.
//!
//! A cut leaves the byte that was being programmed with some of its bits cleared, and some of those weak: they read
//! differently after each reboot. With error correction the whole unit may fail to read. A cut erase leaves a sector
//! untouched, half erased, or full of bits on their way to one that read differently after each reboot. A unit that was
//! touched at all never reads as erased: no software could tell such a unit from an erased one.

use crate::flash::{Bank, Flash, FlashError};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

/// The shape of a flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// A name for messages.
    pub name: &'static str,
    /// Bytes of one bank.
    pub bank_bytes: u32,
    /// Bytes of the sectors of bank A and of bank B.
    pub sector_bytes: [u32; 2],
    /// Whether units carry an error-correcting code, so that a torn one may not read at all.
    pub corrected: bool,
}

/// STM32F401 and F407: bank A is the 64 KB sector, bank B the first half of a 128 KB one; words of 4 bytes.
pub const STM32F4: Geometry = geometry("STM32F4", 65536, [65536, 65536], false);
/// STM32H743: one sector of 128 KB each; words of 32 bytes with error correction.
pub const STM32H7: Geometry = geometry("STM32H7", 131_072, [131_072, 131_072], true);
/// nRF52840: pages of 4 KB, words of 4 bytes.
pub const NRF52: Geometry = geometry("nRF52840", 65536, [4096, 4096], false);
/// RP2040: sectors of 4 KB, pages of 256 bytes.
pub const RP2040: Geometry = geometry("RP2040", 65536, [4096, 4096], false);

/// A geometry.
pub const fn geometry(name: &'static str, bank_bytes: u32, sector_bytes: [u32; 2], corrected: bool) -> Geometry {
    Geometry { name, bank_bytes, sector_bytes, corrected }
}

/// Steps that one erase counts for: it can be cut before, in three ways during, and after.
pub const ERASE_STEPS: u64 = 4;

/// A small generator of repeatable numbers (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// The next byte.
    pub const fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}

#[derive(Clone, Debug)]
struct Cells {
    bytes: Vec<u8>,
    /// Bits that read as anything after each reboot, by their place.
    weak: BTreeMap<usize, u8>,
    /// Units that were erased and not programmed since.
    erased: Vec<bool>,
    /// Units that cannot be read.
    broken: Vec<bool>,
}

/// A flash whose power can be cut.
#[derive(Clone, Debug)]
pub struct SimFlash<const UNIT: usize> {
    geometry: Geometry,
    banks: [Cells; 2],
    random: Random,
    steps: u64,
    cut_at: Option<u64>,
    off: bool,
    /// Programmings of a unit that was not erased before: a bug of the caller.
    pub violations: u32,
    /// Erases so far.
    pub erases: u32,
}

impl<const UNIT: usize> SimFlash<UNIT> {
    /// A flash that was never erased and holds noise.
    pub fn new(geometry: Geometry, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let size = geometry.bank_bytes as usize;
        let mut cells = || Cells {
            bytes: (0..size).map(|_| random.byte()).collect(),
            weak: BTreeMap::new(),
            erased: vec![false; size / UNIT],
            broken: vec![false; size / UNIT],
        };
        Self {
            banks: [cells(), cells()],
            geometry,
            random,
            steps: 0,
            cut_at: None,
            off: false,
            violations: 0,
            erases: 0,
        }
    }

    /// Steps done so far: one for each byte programmed, `ERASE_STEPS` for each erase.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Cut the power when this many steps from now are done; `seed` chooses what the torn cells hold.
    pub const fn cut_after(&mut self, steps: u64, seed: u64) {
        self.cut_at = Some(self.steps + steps);
        self.random = Random::new(seed);
    }

    /// Whether the power was cut.
    pub const fn is_off(&self) -> bool {
        self.off
    }

    /// Switch on again: weak bits read as something else now.
    pub fn reboot(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        self.off = false;
        self.cut_at = None;
        for cells in &mut self.banks {
            for (&at, &weak) in &cells.weak {
                cells.bytes[at] = (cells.bytes[at] & !weak) | (random.byte() & weak);
            }
        }
    }

    /// Flip one bit, as age or radiation does.
    pub fn flip(&mut self, bank: Bank, offset: u32, bit: u8) {
        self.banks[bank as usize].bytes[offset as usize] ^= 1 << (bit & 7);
    }

    /// Put bytes at the start of a bank, as if they had been programmed.
    pub fn overwrite(&mut self, bank: Bank, bytes: &[u8]) {
        let cells = &mut self.banks[bank as usize];
        for (place, &byte) in cells.bytes.iter_mut().zip(bytes) {
            *place = byte;
        }
        cells.erased.fill(false);
    }

    fn step(&mut self) -> bool {
        if self.cut_at.is_some_and(|at| self.steps >= at) {
            self.off = true;
            return false;
        }
        self.steps += 1;
        true
    }

    fn program_unit(&mut self, bank: Bank, at: usize, data: &[u8]) -> Result<(), FlashError> {
        let unit = at / UNIT;
        if !self.banks[bank as usize].erased[unit] {
            self.violations += 1;
        }
        for (index, &byte) in data.iter().enumerate() {
            if !self.step() {
                self.tear(bank, at, index, byte);
                return Err(FlashError);
            }
            let cells = &mut self.banks[bank as usize];
            cells.erased[unit] = false;
            cells.bytes[at + index] &= byte;
        }
        Ok(())
    }

    /// Leave the byte that was being programmed half done.
    fn tear(&mut self, bank: Bank, at: usize, index: usize, byte: u8) {
        let cells = &mut self.banks[bank as usize];
        let touched = cells.bytes[at..at + index].iter().any(|&b| b != 0xFF);
        let reached = !byte & self.random.byte();
        let weak = if touched { !byte & self.random.byte() } else { 0 };
        cells.bytes[at + index] &= !reached;
        cells.weak.insert(at + index, weak);
        if touched || reached != 0 {
            cells.erased[at / UNIT] = false;
            cells.broken[at / UNIT] = self.geometry.corrected && self.random.byte() & 1 == 0;
        }
    }

    /// Leave a sector half erased.
    fn tear_sector(&mut self, bank: Bank, sector: core::ops::Range<usize>, way: u64) {
        let cells = &mut self.banks[bank as usize];
        let half = sector.start + sector.len() / 2;
        for at in sector {
            let rising = match way {
                0 => break,
                1 if at < half => 0xFF,
                1 => 0,
                2 => self.random.byte(),
                _ => self.random.byte() | self.random.byte() | self.random.byte(),
            };
            let weak = if way > 1 { !cells.bytes[at] } else { 0 };
            cells.bytes[at] |= rising;
            cells.weak.insert(at, weak);
            cells.erased[at / UNIT] = false;
        }
    }

    fn check(&self, bank: Bank, offset: u32, length: usize) -> Result<usize, FlashError> {
        let end = offset as usize + length;
        let cells = &self.banks[bank as usize];
        let units = offset as usize / UNIT..end.div_ceil(UNIT);
        if self.off || end > cells.bytes.len() || cells.broken[units].contains(&true) {
            return Err(FlashError);
        }
        Ok(offset as usize)
    }
}

impl<const UNIT: usize> Flash for SimFlash<UNIT> {
    const UNIT: usize = UNIT;
    const DATA_BYTES_MAX: u32 = 1024;

    fn bank_bytes(&self) -> u32 {
        self.geometry.bank_bytes
    }

    fn sectors(&self, bank: Bank) -> u32 {
        self.geometry.bank_bytes / self.geometry.sector_bytes[bank as usize]
    }

    fn read(&self, bank: Bank, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let at = self.check(bank, offset, bytes.len())?;
        bytes.copy_from_slice(&self.banks[bank as usize].bytes[at..at + bytes.len()]);
        Ok(())
    }

    fn program(&mut self, bank: Bank, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let at = offset as usize;
        let size = self.geometry.bank_bytes as usize;
        assert!(at.is_multiple_of(UNIT) && bytes.len().is_multiple_of(UNIT) && at + bytes.len() <= size);
        if self.off {
            return Err(FlashError);
        }
        for (index, unit) in bytes.chunks(UNIT).enumerate() {
            self.program_unit(bank, at + index * UNIT, unit)?;
        }
        Ok(())
    }

    fn erase(&mut self, bank: Bank, sector: u32) -> Result<(), FlashError> {
        let size = self.geometry.sector_bytes[bank as usize] as usize;
        let range = sector as usize * size..(sector as usize + 1) * size;
        if self.off {
            return Err(FlashError);
        }
        for way in 0..ERASE_STEPS {
            if !self.step() {
                self.tear_sector(bank, range, way);
                return Err(FlashError);
            }
        }
        self.erases += 1;
        let units = range.start / UNIT..range.end / UNIT;
        let cells = &mut self.banks[bank as usize];
        cells.bytes[range.clone()].fill(0xFF);
        cells.weak.retain(|at, _| !range.contains(at));
        cells.erased[units.clone()].fill(true);
        cells.broken[units].fill(false);
        Ok(())
    }

    fn mapped(&self, bank: Bank, offset: u32, length: u32) -> Result<&[u8], FlashError> {
        let at = self.check(bank, offset, length as usize)?;
        Ok(&self.banks[bank as usize].bytes[at..at + length as usize])
    }
}

impl<const UNIT: usize> SimFlash<UNIT> {
    /// Everything that survives the power being off, as bytes for a file.
    pub fn image(&self) -> Vec<u8> {
        let mut image = Vec::new();
        for cells in &self.banks {
            image.extend(&cells.bytes);
            image.extend((0..cells.bytes.len()).map(|at| cells.weak.get(&at).copied().unwrap_or(0)));
            image.extend(cells.erased.iter().map(|&flag| u8::from(flag)));
            image.extend(cells.broken.iter().map(|&flag| u8::from(flag)));
        }
        image
    }

    /// A flash from its image; nothing when the image is of another geometry.
    pub fn from_image(geometry: Geometry, image: &[u8]) -> Option<Self> {
        let mut flash = Self::new(geometry, 0);
        let size = geometry.bank_bytes as usize;
        let each = 2 * (size + size / UNIT);
        if image.len() != 2 * each {
            return None;
        }
        for (cells, part) in flash.banks.iter_mut().zip(image.chunks(each)) {
            let (bytes, part) = part.split_at(size);
            let (weak, part) = part.split_at(size);
            let (erased, broken) = part.split_at(size / UNIT);
            cells.bytes = bytes.to_vec();
            cells.weak = weak.iter().copied().enumerate().filter(|&(_, weak)| weak != 0).collect();
            cells.erased = erased.iter().map(|&flag| flag != 0).collect();
            cells.broken = broken.iter().map(|&flag| flag != 0).collect();
        }
        Some(flash)
    }
}
