//! Working memory of one execution: slots, operand stack, actions, scratch text.

use crate::instance::Misfit;
use crate::program::Program;
use crate::text::cut;
use crate::value::{Handle, Space, Texts};
use crate::verify::Verified;

/// Memory that all programs of a board share; it holds nothing between executions.
///
/// It must have the largest `work_words` and `work_bytes` of all [`crate::Needs`] of the programs.
pub struct Workspace<'m> {
    words: &'m mut [u64],
    bytes: &'m mut [u8],
}

impl<'m> Workspace<'m> {
    /// Take the memory.
    pub fn new(words: &'m mut [u64], bytes: &'m mut [u8]) -> Self {
        Self { words, bytes }
    }

    /// The memory of one program.
    pub(crate) fn split<'w>(&'w mut self, verified: &Verified<'_>) -> Result<Memory<'w>, Misfit> {
        let needs = verified.needs();
        match (self.words.get_mut(..needs.work_words), self.bytes.get_mut(..needs.work_bytes)) {
            (Some(words), Some(scratch)) => Ok(Memory { words, scratch }),
            _ => Err(Misfit::Memory),
        }
    }
}

/// The working memory: the slots, the operand stack above them, above that the actions; and scratch text.
pub(crate) struct Memory<'w> {
    pub words: &'w mut [u64],
    pub scratch: &'w mut [u8],
}

impl Memory<'_> {
    /// A slot that the verifier has seen to exist.
    #[inline(never)]
    pub fn load(&self, slot: usize) -> u64 {
        self.words.get(slot).copied().unwrap_or(0)
    }

    #[inline(never)]
    pub fn store(&mut self, slot: usize, word: u64) {
        if let Some(place) = self.words.get_mut(slot) {
            *place = word;
        }
    }

    /// Append bytes to the scratch text at `top`; the text of as many as fit.
    #[inline(never)]
    pub fn append(&mut self, top: &mut usize, bytes: &[u8]) -> Handle {
        let start = *top;
        let size = put(self.scratch, start, bytes);
        *top = start + size;
        Handle::new(Space::Scratch, start, size)
    }

    /// Append a text that may itself lie in the scratch.
    #[inline(never)]
    pub fn append_text(&mut self, top: &mut usize, program: &Program<'_>, own: &[u8], text: Handle) -> Handle {
        let start = *top;
        let (low, high) = self.scratch.split_at_mut_checked(start).unwrap_or((&mut [], &mut []));
        let size = put(high, 0, Texts { program: program.bytes, own, scratch: low }.get(text));
        *top = start + size;
        Handle::new(Space::Scratch, start, size)
    }
}

/// Put bytes into `place` from `start` on, as many as fit; how many they were.
#[inline(never)]
pub(crate) fn put(place: &mut [u8], start: usize, bytes: &[u8]) -> usize {
    let room = place.get_mut(start..).unwrap_or(&mut []);
    let mut size = 0;
    for (byte, from) in room.iter_mut().zip(bytes) {
        *byte = *from;
        size += 1;
    }
    size
}

/// Copy words, as many as fit.
#[inline(never)]
pub(crate) fn put_words(place: &mut [u64], start: usize, words: &[u64]) {
    let room = place.get_mut(start..).unwrap_or(&mut []);
    room.iter_mut().zip(words).for_each(|(place, word)| *place = *word);
}

/// A text cut to `most` bytes at a character boundary: only its length changes.
pub(crate) fn shortened(texts: Texts<'_>, text: Handle, most: usize) -> Handle {
    Handle { size: cut(texts.get(text), most) as u16, ..text }
}
