//! The link against its vectors, against every refusal, and against noise, damage and malice.

mod fixture;
mod hostile;
mod push;
mod records;
mod vectors;
