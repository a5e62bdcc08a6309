//! The decoder for compressed programs. docs/serial-link.md, Compression.
//!
//! It needs no window in RAM: what a match refers back to is read from where it was written to.

use crate::dictionary::DICTIONARY;

/// Bits of the longest token: flag, class, distance, length.
const TOKEN_BITS_MAX: u8 = 25;
const NEAR_BITS: u8 = 4;
const FAR_BITS_MAX: u8 = 12;
const LENGTH_ZEROS_MAX: u8 = 5;
const LENGTH_MIN: u32 = 2;

/// The bytes are no compressed program of the announced size, or the target refused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Where decoded bytes go, and where they can be read again.
pub trait History {
    /// Add a byte.
    fn put(&mut self, byte: u8) -> Result<(), Broken>;
    /// The byte at this place among those that were added.
    fn get(&self, position: u32) -> Option<u8>;
}

/// The dictionary that stands before the first byte of a program.
pub const fn dictionary_bytes() -> &'static [u8] {
    &DICTIONARY
}

/// A decoder that is fed piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lz {
    /// Bits not yet used, from the highest on.
    bits: u32,
    count: u8,
    /// Bytes of dictionary before the first byte.
    prior: u16,
    produced: u32,
    size: u32,
}

impl Lz {
    /// A decoder for `size` bytes, with or without the dictionary.
    pub const fn new(size: u32, with_dictionary: bool) -> Self {
        let prior = if with_dictionary { DICTIONARY.len() as u16 } else { 0 };
        Self { bits: 0, count: 0, prior, produced: 0, size }
    }

    /// Decode a piece; `last` says that no other follows, and then all bytes must have come out.
    pub fn feed(&mut self, piece: &[u8], last: bool, history: &mut impl History) -> Result<(), Broken> {
        let mut piece = piece.iter();
        loop {
            self.refill(&mut piece);
            if self.produced == self.size {
                let done = piece.len() == 0 && self.count < 8 && self.bits == 0;
                return if done { Ok(()) } else { Err(Broken) };
            }
            if self.count < TOKEN_BITS_MAX && !last {
                return Ok(());
            }
            self.token(history)?;
        }
    }

    fn refill(&mut self, piece: &mut core::slice::Iter<'_, u8>) {
        while self.count <= 24 {
            let Some(&byte) = piece.next() else {
                return;
            };
            self.bits |= u32::from(byte) << (24 - self.count);
            self.count += 8;
        }
    }

    fn take(&mut self, count: u8) -> Result<u32, Broken> {
        if count > self.count || count == 0 {
            return Err(Broken);
        }
        let value = self.bits >> (32 - u32::from(count));
        self.bits <<= count;
        self.count -= count;
        Ok(value)
    }

    fn token(&mut self, history: &mut impl History) -> Result<(), Broken> {
        if self.take(1)? == 1 {
            let byte = self.take(8)?;
            return self.emit(byte as u8, history);
        }
        let bits = if self.take(1)? == 1 { self.far_bits() } else { NEAR_BITS };
        let distance = self.take(bits)? + 1;
        let length = self.length()?;
        for _ in 0..length {
            let reach = u32::from(self.prior) + self.produced;
            let at = reach.checked_sub(distance).ok_or(Broken)?;
            let byte = match at.checked_sub(u32::from(self.prior)) {
                Some(position) => history.get(position),
                None => DICTIONARY.get(at as usize).copied(),
            };
            self.emit(byte.ok_or(Broken)?, history)?;
        }
        Ok(())
    }

    /// As many bits as the farthest byte needs.
    fn far_bits(&self) -> u8 {
        let farthest = (u32::from(self.prior) + self.produced).saturating_sub(1);
        let mut bits = NEAR_BITS;
        while bits < FAR_BITS_MAX && farthest >> bits != 0 {
            bits += 1;
        }
        bits
    }

    /// An Elias gamma number from 1 on, plus the shortest match less one.
    fn length(&mut self) -> Result<u32, Broken> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > LENGTH_ZEROS_MAX {
                return Err(Broken);
            }
        }
        let low = if zeros > 0 { self.take(zeros)? } else { 0 };
        Ok((1 << zeros | low) + LENGTH_MIN - 1)
    }

    fn emit(&mut self, byte: u8, history: &mut impl History) -> Result<(), Broken> {
        if self.produced == self.size {
            return Err(Broken);
        }
        history.put(byte)?;
        self.produced += 1;
        Ok(())
    }
}
