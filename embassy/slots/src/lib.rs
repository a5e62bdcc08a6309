//! Program slots on a microcontroller's flash.
//!
//! Up to four programs, each with the one before it and one that is staged, live in a log on two banks of flash. A record is appended and its
//! commit word programmed last; when a bank is full, what still matters moves to the other one, whose header comes last.
//! A power cut at any byte therefore leaves the old or the new program, never none and never a mix. Each unit of flash is
//! programmed at most once between erases, and nothing is ever appended after a tail that a power cut may have left half
//! programmed.
//!
//! docs/serial-link.md, Flash, describes the bytes.

#![cfg_attr(not(any(test, feature = "sim")), no_std)]
#![forbid(unsafe_code)]

mod compact;
pub mod crc;
mod data;
mod flash;
mod log;
mod probation;
mod record;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
mod work;
mod write;

pub use flash::{Bank, Flash, FlashError};
pub use probation::{Probation, Verdict};
pub use record::{ID_BYTES, NAME_BYTES_MAX, rule_key};
pub use store::{Entry, PLACES, Slot, Store, StoreError, TRIALS_MAX};
pub use write::{Begin, Claim, Claimed, Start};
