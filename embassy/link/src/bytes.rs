//! Reading requests and writing answers without a panic.

use crate::frame::PAYLOAD_BYTES_MAX;

/// Reads the fields of a payload one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Start at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (found, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(found)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|&[byte]| byte)
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// A length byte and that many bytes.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u8()?);
        let (found, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(found)
    }

    /// All that is left.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// `value`, when nothing is left.
    pub fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// The payload of an answer while it is written. What does not fit is left out; no message of this protocol is that long.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: [u8; PAYLOAD_BYTES_MAX],
    length: usize,
}

impl Reply {
    /// An empty payload.
    pub const fn new() -> Self {
        Self { bytes: [0; PAYLOAD_BYTES_MAX], length: 0 }
    }

    /// Add bytes; false, and nothing added, when they do not fit.
    pub fn put(&mut self, bytes: &[u8]) -> bool {
        let end = self.length.saturating_add(bytes.len());
        let Some(target) = self.bytes.get_mut(self.length..end) else {
            return false;
        };
        for (place, &byte) in target.iter_mut().zip(bytes) {
            *place = byte;
        }
        self.length = end;
        true
    }

    /// Add a byte.
    pub fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Add two bytes.
    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    /// Add four bytes.
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// Add eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// Add a length byte and up to `most` bytes of a text.
    pub fn text(&mut self, text: &[u8], most: u8) {
        let length = text.len().min(usize::from(most));
        self.u8(length as u8);
        self.put(text.get(..length).unwrap_or(&[]));
    }

    /// Bytes that still fit.
    pub const fn room(&self) -> usize {
        PAYLOAD_BYTES_MAX - self.length
    }

    /// Change a byte that was written.
    pub fn set(&mut self, at: usize, value: u8) {
        if let Some(place) = self.bytes.get_mut(at) {
            *place = value;
        }
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::new()
    }
}
