//! Parameters and durable state of a program as bytes that survive a restart and that the next version of the rule can read.
//!
//! A record holds the clock, the parameters that were set, the state variables, and the memory of `cooldown`, `rises` and
//! `falls`. Each value stands under a key made of its name and type, so that another version of the rule finds what it has
//! in common with the one that wrote it; time words only when code and memory are the same. What a `for` and a window
//! remember is left out: a hold starts anew after a restart, as nobody looked meanwhile, and a window fills again.
//!
//! docs/serial-link.md, State, describes the bytes.

#![no_std]
#![forbid(unsafe_code)]

mod record;
mod value;

pub use record::{Clock, Restored, digest, record_bytes_max, restore, save};
pub use value::{put, put_value, take_value};
