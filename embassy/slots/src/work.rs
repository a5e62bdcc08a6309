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
    /// The place whose program before the running one is given up, to make room; `KEEP_ALL` for none.
    pub(crate) dropped: u8,
}

impl Compaction {
    pub(crate) const KEEP_ALL: u8 = u8::MAX;
}
