//! The SVM of eyeflow for microcontrollers: decodes, verifies and runs `.svm` programs (docs/svm.md).
//!
//! No heap, no `unsafe`, no panic: a program is a view over its bytes (in flash), all memory comes from the caller.
//!
//! 1. [`Program::decode`] checks the bytes, [`verify`] or [`verify_mcu`] proves the code and says what memory it needs.
//! 2. An [`Instance`] is the durable memory of one program: parameters and state.
//! 3. A [`Workspace`] is memory that all programs of a board share, one execution at a time.
//! 4. [`Machine::run`] runs one handler on one event against a [`Host`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod container;
mod control;
mod cycle;
mod durable;
mod effects;
mod float;
mod instance;
#[allow(missing_docs)]
#[rustfmt::skip]
pub mod isa;
mod machine;
mod memory;
mod numbers;
mod operators;
mod program;
mod reader;
mod refusal;
mod signing;
mod site;
mod steps;
mod structure;
mod table;
mod tables;
mod text;
mod timers;
mod types;
mod value;
mod verify;
mod world;

pub use container::{Header, Signed};
pub use durable::{Part, PartKind};
pub use instance::{Instance, Misfit};
pub use machine::{Event, Execution, Machine, Status};
pub use memory::Workspace;
pub use program::{Handler, Limits, Program, Regions, Trigger};
pub use refusal::{Refusal, Why};
pub use signing::{Crypto, Signature, check_signatures, message};
pub use site::{Site, SiteKind, SiteNames};
pub use types::{Scalar, Slot};
pub use value::{Value, ValueType};
pub use verify::{Needs, Verified, verify, verify_mcu};
pub use world::{Call, Host, Reply};
