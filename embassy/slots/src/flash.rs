//! What the store needs of a flash: two banks that are erased by sectors and programmed by units, each unit once.

/// One of the two halves of the flash that belongs to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bank {
    /// The first half.
    A,
    /// The second half.
    B,
}

impl Bank {
    /// The other half.
    pub const fn other(self) -> Self {
        match self {
            Bank::A => Bank::B,
            Bank::B => Bank::A,
        }
    }
}

/// The flash refused: an address outside of it, a unit that cannot be read (broken by a power cut, on a flash with
/// error correction), or a failed erase or program operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashError;

/// The flash for programs: two banks of equal size, and nothing else in their sectors.
///
/// An implementation maps the banks to sectors of the chip. The banks may lie in sectors of different sizes (STM32F401:
/// bank A the 64 KB sector 4, bank B the first 64 KB of the 128 KB sector 5), as long as an erase of one bank leaves the
/// other alone. The store programs each unit at most once after an erase, so error-corrected flash (STM32H7) and flash
/// with few programmings of a word (nRF52) are fine.
pub trait Flash {
    /// Bytes that are programmed at once, a power of two: 4 on STM32F4 and nRF52, 32 on STM32H7, 256 on RP2040.
    const UNIT: usize;

    /// The longest bytes that the firmware keeps for one rule; so much room never goes to a program.
    const DATA_BYTES_MAX: u32;

    /// Bytes of one bank, a multiple of `UNIT`.
    fn bank_bytes(&self) -> u32;

    /// Sectors of one bank; each is erased in one call, so that a scan can run in between.
    fn sectors(&self, bank: Bank) -> u32;

    /// Read bytes. A unit that was torn by a power cut may read as anything, or fail; it must not fault the processor.
    fn read(&self, bank: Bank, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError>;

    /// Program whole units at a multiple of `UNIT`.
    fn program(&mut self, bank: Bank, offset: u32, bytes: &[u8]) -> Result<(), FlashError>;

    /// Erase one sector of a bank (0 to `sectors` - 1) to ones.
    fn erase(&mut self, bank: Bank, sector: u32) -> Result<(), FlashError>;

    /// The bytes where they lie, for running a program in place.
    fn mapped(&self, bank: Bank, offset: u32, length: u32) -> Result<&[u8], FlashError>;
}
