//! Takes little-endian pieces off the bytes of a program, strictly.

use crate::refusal::{Checked, Refusal, Why};

/// A place in the bytes of a program; nothing beyond the end of `data` is ever read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    pub position: usize,
}

impl<'a> Reader<'a> {
    pub const fn new(data: &'a [u8], position: usize) -> Self {
        Self { data, position }
    }

    /// The fault `why` at the current byte.
    pub const fn fault(&self, why: Why) -> Refusal {
        Refusal::new(why, self.position)
    }

    /// Go on when `right`, else refuse at the current byte.
    pub fn need(&self, right: bool, why: Why) -> Checked<()> {
        if right { Ok(()) } else { Err(self.fault(why)) }
    }

    pub fn take(&mut self, size: usize) -> Checked<&'a [u8]> {
        let end = self.position.wrapping_add(size);
        match self.data.get(self.position..end) {
            Some(piece) => {
                self.position = end;
                Ok(piece)
            }
            None => Err(self.fault(Why::Truncated)),
        }
    }

    /// An unsigned number of `size` bytes, at most 8.
    fn number(&mut self, size: usize) -> Checked<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub fn u8(&mut self) -> Checked<u8> {
        Ok(self.number(1)? as u8)
    }

    pub fn u16(&mut self) -> Checked<u16> {
        Ok(self.number(2)? as u16)
    }

    pub fn u32(&mut self) -> Checked<u32> {
        Ok(self.number(4)? as u32)
    }

    pub fn u64(&mut self) -> Checked<u64> {
        self.number(8)
    }

    /// A byte below `end`: a member of an enumeration, a bool, a count within a limit.
    pub fn below(&mut self, end: u8, why: Why) -> Checked<u8> {
        let value = self.u8()?;
        if value < end { Ok(value) } else { Err(self.fault(why)) }
    }

    pub fn flag(&mut self) -> Checked<bool> {
        Ok(self.below(2, Why::Value)? == 1)
    }

    pub fn zeros(&mut self, count: usize) -> Checked<()> {
        let zero = self.take(count)?.iter().all(|byte| *byte == 0);
        self.need(zero, Why::Padding)
    }

    /// A text behind its length of `size` bytes.
    fn utf8(&mut self, size: usize) -> Checked<&'a [u8]> {
        let length = self.number(size)? as usize;
        let bytes = self.take(length)?;
        self.need(crate::text::is_utf8(bytes), Why::Text)?;
        Ok(bytes)
    }

    /// A `str` of the format: a length byte in front.
    pub fn name(&mut self) -> Checked<&'a [u8]> {
        self.utf8(1)
    }

    /// A `text` of the format: a u16 length in front.
    pub fn text(&mut self) -> Checked<&'a [u8]> {
        self.utf8(2)
    }

    /// Refuse bytes that are left over.
    pub fn finish(&self) -> Checked<()> {
        self.need(self.position == self.data.len(), Why::LeftOver)
    }
}

/// Reads one entry of a list and gives its name.
pub(crate) type NextName<'n, 'a> = &'n dyn Fn(&mut Reader<'a>) -> Checked<&'a [u8]>;

/// Refuse a name that stands twice among the `count` entries from `start` on, and an empty one unless `empty` may be.
pub(crate) fn unique<'a>(start: Reader<'a>, count: usize, empty: bool, next: NextName<'_, 'a>) -> Checked<()> {
    let mut reader = start;
    for index in 0..count {
        let name = next(&mut reader)?;
        reader.need(empty || !name.is_empty(), Why::Name)?;
        let mut rest = reader;
        for _ in index.wrapping_add(1)..count {
            let other = next(&mut rest)?;
            rest.need(name != other, Why::Name)?;
        }
    }
    Ok(())
}
