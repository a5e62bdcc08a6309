//! The two banks of flash that hold programs, as the store wants them.

use eyeflow_slots::{Bank, Flash, FlashError};

use crate::board::{BANK_BYTES, BANKS, SECTOR_BYTES, UNIT_BYTES};
use crate::hal::ProgramFlash;
use crate::place::RECORD_BYTES;

/// The store of this board.
pub type Store = eyeflow_slots::Store<Area, UNIT_BYTES>;

/// The flash of the programs.
pub struct Area(pub ProgramFlash);

const fn index(bank: Bank) -> usize {
    match bank {
        Bank::A => 0,
        Bank::B => 1,
    }
}

/// The bytes at an address of the program banks.
///
/// They stay where they are until the store erases their bank; see `Runtime::refresh`.
fn bytes_at(address: u32, length: u32) -> &'static [u8] {
    // SAFETY: `Area` gives only ranges inside the two banks, which are readable flash that holds nothing else and that
    // only the store writes.
    unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) }
}

/// Programs run where they lie, so what the store lends while it is borrowed is needed for longer.
///
/// Whoever keeps such bytes lets go of them when the generation of the store changes, before the next write to flash.
pub fn in_place(bytes: &[u8]) -> &'static [u8] {
    bytes_at(bytes.as_ptr() as u32, bytes.len() as u32)
}

impl Flash for Area {
    const UNIT: usize = UNIT_BYTES;
    const DATA_BYTES_MAX: u32 = RECORD_BYTES as u32;

    fn bank_bytes(&self) -> u32 {
        BANK_BYTES
    }

    fn sectors(&self, bank: Bank) -> u32 {
        BANK_BYTES.div_ceil(SECTOR_BYTES[index(bank)])
    }

    fn read(&self, bank: Bank, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let found = self.mapped(bank, offset, bytes.len() as u32)?;
        if crate::hal::read_flash(found, bytes) { Ok(()) } else { Err(FlashError) }
    }

    fn program(&mut self, bank: Bank, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.mapped(bank, offset, bytes.len() as u32)?;
        let done = self.0.program(BANKS[index(bank)] + offset, bytes);
        if done { Ok(()) } else { Err(FlashError) }
    }

    fn erase(&mut self, bank: Bank, sector: u32) -> Result<(), FlashError> {
        let size = SECTOR_BYTES[index(bank)];
        if sector >= self.sectors(bank) {
            return Err(FlashError);
        }
        let done = self.0.erase(BANKS[index(bank)] + sector * size, size);
        if done { Ok(()) } else { Err(FlashError) }
    }

    fn mapped(&self, bank: Bank, offset: u32, length: u32) -> Result<&[u8], FlashError> {
        match offset.checked_add(length) {
            Some(end) if end <= BANK_BYTES => Ok(bytes_at(BANKS[index(bank)] + offset, length)),
            _ => Err(FlashError),
        }
    }
}
