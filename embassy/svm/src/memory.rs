//! Working memory of one execution: slots, operand stack, actions, scratch text.

use crate::instance::Misfit;
use crate::text::cut;
use crate::value::{Handle, Space, Texts};
use crate::verify::{Needs, Verified};

/// Memory that all programs of a board share; it holds nothing between executions.
///
/// It must have the largest `work_words` and `work_bytes` of all [`Needs`] of the programs.
pub struct Workspace<'m> {
    words: &'m mut [u64],
    bytes: &'m mut [u8],
}

impl<'m> Workspace<'m> {
    /// Take the memory.
    pub fn new(words: &'m mut [u64], bytes: &'m mut [u8]) -> Self {
        Self { words, bytes }
    }

    /// Divide the memory for one program.
    pub(crate) fn split<'w>(&'w mut self, program: &Verified<'_>) -> Result<Memory<'w>, Misfit> {
        let needs: Needs = program.needs();
        if self.words.len() < needs.work_words || self.bytes.len() < needs.work_bytes {
            return Err(Misfit::Memory);
        }
        let stack_max = usize::from(program.program.limits.stack_max);
        let split = self.words.split_at_mut_checked(program.program.regions.total());
        let (slots, rest) = split.ok_or(Misfit::Memory)?;
        let (stack, actions) = rest.split_at_mut_checked(stack_max).ok_or(Misfit::Memory)?;
        Ok(Memory { slots, stack, actions, scratch: self.bytes })
    }
}

/// The parts of the working memory.
pub(crate) struct Memory<'w> {
    pub slots: &'w mut [u64],
    pub stack: &'w mut [u64],
    pub actions: &'w mut [u64],
    pub scratch: &'w mut [u8],
}

impl Memory<'_> {
    /// A slot that the verifier has seen to exist.
    pub fn load(&self, slot: usize) -> u64 {
        self.slots.get(slot).copied().unwrap_or(0)
    }

    pub fn store(&mut self, slot: usize, word: u64) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = word;
        }
    }
}

/// Append bytes to the scratch text at `top`; the text of as many as fit.
pub(crate) fn append(scratch: &mut [u8], top: &mut usize, bytes: &[u8]) -> Handle {
    let start = *top;
    let room = scratch.get_mut(start..).unwrap_or(&mut []);
    let size = bytes.len().min(room.len());
    room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    *top = start + size;
    Handle::new(Space::Scratch, start, size)
}

/// Append a text that may itself lie in the scratch.
pub(crate) fn append_text(scratch: &mut [u8], top: &mut usize, program: &[u8], own: &[u8], text: Handle) -> Handle {
    let start = *top;
    if text.space != Space::Scratch {
        let bytes = Texts { program, own, scratch: &[] }.get(text);
        return append(scratch, top, bytes);
    }
    let (low, high) = scratch.split_at_mut_checked(start).unwrap_or((&mut [], &mut []));
    let bytes = Texts { program, own, scratch: low }.get(text);
    let mut end = 0;
    append(high, &mut end, bytes);
    *top = start + end;
    Handle::new(Space::Scratch, start, end)
}

/// A text cut to `most` bytes at a character boundary: only its length changes.
pub(crate) fn shortened(texts: Texts<'_>, text: Handle, most: usize) -> Handle {
    Handle { size: cut(texts.get(text), most) as u16, ..text }
}
