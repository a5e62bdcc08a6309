//! Takes little-endian pieces off the bytes of a program, strictly.
//!
//! A reader remembers its first fault. From then on it reads zeros, which ends every list and every type: no caller has
//! to look at each step, which halves the code on a Cortex-M0+.

use crate::refusal::{Checked, Refusal, Why};

/// A place in the bytes of a program; nothing beyond the end of `data` is ever read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    pub position: usize,
    fault: Option<Why>,
    /// 0 linux, 1 mcu.
    pub profile: u8,
    /// Whether what takes long is checked too: texts and unique names. Not in a program that was decoded before.
    pub strict: bool,
    /// How deep the type that is read lies in others.
    pub depth: u8,
}

impl<'a> Reader<'a> {
    pub const fn new(data: &'a [u8], position: usize, profile: u8, strict: bool) -> Self {
        Self { data, position, fault: None, profile, strict, depth: 0 }
    }

    /// Whether there was no fault yet.
    pub const fn is_right(&self) -> bool {
        self.fault.is_none()
    }

    /// Take over the fault of another reader.
    pub fn follow(&mut self, other: &Self) {
        if let Some(why) = other.fault {
            self.need(false, why);
        }
    }

    /// The fault, if there was one.
    pub fn result(&self) -> Checked<()> {
        match self.fault {
            Some(why) => Err(Refusal::new(why, self.position)),
            None => Ok(()),
        }
    }

    /// Go on when `right`, else remember the fault.
    #[inline(never)]
    pub fn need(&mut self, right: bool, why: Why) {
        if !right && self.fault.is_none() {
            self.fault = Some(why);
            self.data = &[];
        }
    }

    #[inline(never)]
    pub fn take(&mut self, size: usize) -> &'a [u8] {
        match self.data.get(self.position..self.position.wrapping_add(size)) {
            Some(piece) => {
                self.position = self.position.wrapping_add(size);
                piece
            }
            None => {
                self.need(false, Why::Truncated);
                &[]
            }
        }
    }

    /// An unsigned number of `size` bytes, at most 8.
    #[inline(never)]
    pub fn number(&mut self, size: usize) -> u64 {
        self.take(size).iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
    }

    /// An unsigned number of `size` bytes, at most 4.
    #[inline(never)]
    pub fn small(&mut self, size: usize) -> u32 {
        self.take(size).iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte))
    }

    #[inline(never)]
    pub fn u8(&mut self) -> u8 {
        self.small(1) as u8
    }

    #[inline(never)]
    pub fn u16(&mut self) -> u16 {
        self.small(2) as u16
    }

    pub fn u32(&mut self) -> u32 {
        self.small(4)
    }

    /// A byte below `end`: a member of an enumeration, a bool, a count within a limit.
    #[inline(never)]
    pub fn below(&mut self, end: u8, why: Why) -> u8 {
        let value = self.u8();
        self.need(value < end, why);
        value
    }

    pub fn flag(&mut self) -> bool {
        self.below(2, Why::Value) == 1
    }

    pub fn zeros(&mut self, count: usize) {
        let zero = self.small(count) == 0;
        self.need(zero, Why::Padding);
    }

    /// So many bytes of UTF-8.
    #[inline(never)]
    pub fn utf8(&mut self, size: usize) -> &'a [u8] {
        let bytes = self.take(size);
        self.need(!self.strict || crate::text::is_utf8(bytes), Why::Text);
        bytes
    }

    /// A `str` of the format: a length byte in front.
    #[inline(never)]
    pub fn name(&mut self) -> &'a [u8] {
        let size = self.u8();
        self.utf8(usize::from(size))
    }

    /// A `text` of the format: a u16 length in front.
    pub fn text(&mut self) -> &'a [u8] {
        let size = self.u16();
        self.utf8(usize::from(size))
    }

    /// Refuse bytes that are left over.
    pub fn finish(&mut self) {
        self.need(self.position == self.data.len(), Why::LeftOver);
    }

    /// Take `count` names; refuse one of less than `least` bytes and one that stands twice.
    #[inline(never)]
    pub fn names(&mut self, count: u16, least: usize) {
        for index in 0..count {
            let name = self.name();
            let mut rest = Self { strict: false, ..*self };
            let mut right = name.len() >= least;
            for _ in index.wrapping_add(1)..if self.strict { count } else { 0 } {
                right &= rest.name() != name;
            }
            self.need(right || !self.strict, Why::Name);
        }
    }
}
