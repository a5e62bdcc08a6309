//! What a store is in the middle of: data that writing and cleaning up share, so that neither needs the other for it.

use crate::crc::Crc;
use crate::record::Header;

/// The program that is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) base: u32,
    pub(crate) header: Header,
    pub(crate) written: u32,
    /// Whether the last, incomplete unit is on flash too.
    pub(crate) flushed: bool,
    pub(crate) crc: Crc,
}

/// What the store is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Idle,
    Open(Open),
    Compacting(Compaction),
}

/// How far cleaning up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compaction {
    pub(crate) erased: u32,
    pub(crate) source: u32,
    pub(crate) target: u32,
    /// What is given up to make room, one bit for each place: in bits 0 to 3 the program before the running one, in bits 4
    /// to 7 the staged one.
    pub(crate) dropped: u8,
}

impl Compaction {
    /// In place of the place that room is made for: no place gets another program.
    pub(crate) const NO_PLACE: u8 = u8::MAX;
}
