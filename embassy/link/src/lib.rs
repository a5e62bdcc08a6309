//! The serial link between a board and its host: frames, codec and the board's side of every exchange.
//!
//! [`Link`] eats bytes as they arrive and answers each request with one frame. Whatever bytes arrive, it neither panics
//! nor takes a damaged frame for a good one. Nothing here allocates; a board needs about 250 bytes of RAM for it, its
//! program store aside.
//!
//! docs/serial-link.md describes every byte; tests/vectors/serial_link holds the vectors that this crate and the Python
//! side are tested with.

#![no_std]
#![forbid(unsafe_code)]

mod bytes;
mod dictionary;
mod frame;
mod link;
mod lz;
mod message;
mod push;
mod records;

pub use bytes::{Cursor, Reply};
pub use dictionary::DICTIONARY_VERSION;
pub use frame::{FRAME_BYTES_MAX, Frame, OVERHEAD_BYTES, PAYLOAD_BYTES_MAX, Receiver, WIRE_BYTES_MAX, encode};
pub use link::{Link, log, send};
pub use lz::{Broken, History, Lz, dictionary_bytes};
pub use message::{Board, Code, Counters, Facts, Health, Identity, Level, PROTOCOL, Refused, Request, Reset, Unasked};
pub use records::{RECORD_BYTES_MAX, Records};
