//! Blocks, loops and what an execution can cost: docs/svm.md, Control.

use crate::isa::code;
use crate::program::Word;
use crate::refusal::{Fault, Why, need};
use crate::verify::{Pass, TypeStack};

const LOOPS_MAX: usize = 8;
const COUNTS: usize = 7;
/// Where the counts of a tally stand: fuel; calls at sites by kind; bytes of scratch; words in which actions are kept.
pub(crate) const FUEL: usize = 0;
pub(crate) const CALLS: usize = 1;
pub(crate) const SCRATCH: usize = 5;
pub(crate) const ACTION_WORDS: usize = 6;

/// What the instructions up to one point can cost together, the worst of all ways to it.
pub(crate) type Tally = [u32; COUNTS];

/// The larger of each count.
#[inline(never)]
pub(crate) fn raise(tally: &mut Tally, other: &Tally) {
    for (count, more) in tally.iter_mut().zip(other) {
        *count = (*count).max(*more);
    }
}

/// An open block: an arm of a BRANCH, or the body of a LOOP.
#[derive(Clone, Copy)]
struct Frame<const TYPES: usize> {
    /// Its BRANCH or LOOP.
    pc: u16,
    /// The instruction at which this block is over; of a loop: at which it must have been closed.
    end: u16,
    /// The bound of a loop; 0: an arm.
    bound: u16,
    base: u8,
    /// Whether the else arm is open, and how deep the first arm left the stack.
    otherwise: bool,
    depth: u8,
    /// The types that the first arm left.
    types: TypeStack<TYPES>,
    /// Before the block; of an else arm: after the first arm.
    tally: Tally,
}

/// The open blocks of a handler.
pub(crate) struct Frames<const TYPES: usize, const BLOCKS: usize> {
    frames: [Frame<TYPES>; BLOCKS],
    open: usize,
    loops: usize,
    pub blocks_max: usize,
    pub loops_max: usize,
}

impl<const TYPES: usize, const BLOCKS: usize> Frames<TYPES, BLOCKS> {
    const FRAME: Frame<TYPES> = Frame {
        pc: 0,
        end: 0,
        bound: 0,
        base: 0,
        otherwise: false,
        depth: 0,
        types: TypeStack::new(),
        tally: [0; COUNTS],
    };
    /// No block; all zero, so that it is made in place.
    pub const EMPTY: Self = Self { frames: [Self::FRAME; BLOCKS], open: 0, loops: 0, blocks_max: 0, loops_max: 0 };

    /// The open block `levels` out, 1 the innermost.
    #[inline(never)]
    fn outer(&mut self, levels: usize) -> Option<&mut Frame<TYPES>> {
        self.frames.get_mut(self.open.checked_sub(levels)?)
    }

    /// The depth of the stack below which the innermost block does not pop.
    pub fn base(&mut self) -> usize {
        self.outer(1).map_or(0, |frame| usize::from(frame.base))
    }
}

impl<const TYPES: usize, const BLOCKS: usize> Pass<'_, '_, TYPES, BLOCKS> {
    /// Close every BRANCH block that ends before this instruction.
    pub fn close_finished(&mut self) -> Fault {
        while let Some(frame) = self.frames.outer(1) {
            if self.pc < frame.end {
                break;
            }
            let same = frame.bound == 0
                && self.depth == usize::from(frame.depth)
                && (usize::from(frame.base)..self.depth).all(|index| self.types.get(index) == frame.types.get(index));
            need(same, Why::Control)?;
            raise(&mut self.tally, &frame.tally);
            self.frames.open -= 1;
        }
        Ok(())
    }

    /// What the instructions of control do beside popping and pushing.
    pub fn control(&mut self, word: Word) -> Fault {
        match word.opcode {
            code::BRANCH => {
                self.need_forward(word.b, 1)?;
                self.open(word.b, 0)
            }
            code::JUMP => self.jump(word.b),
            code::LOOP => {
                need(word.b > 0, Why::Control)?;
                let end = self.end(1);
                self.open(end, word.b)
            }
            code::END_LOOP => self.end_loop(word.b),
            code::LOOP_INDEX => need(usize::from(word.a) < self.frames.loops, Why::Control),
            code::RETURN => need(self.frames.open == 0 && self.depth == 0, Why::Control),
            _ => Ok(()),
        }
    }

    /// Where the block `levels` out is over at the latest: the last instruction of the handler, or before.
    fn end(&mut self, levels: usize) -> u16 {
        let last = self.handler.end.wrapping_sub(1);
        self.frames.outer(levels).map_or(last, |frame| frame.end)
    }

    /// Refuse a target that is not forward within the block `levels` out.
    #[inline(never)]
    fn need_forward(&mut self, target: u16, levels: usize) -> Fault {
        let end = self.end(levels);
        need(self.pc < target && target <= end, Why::Control)
    }

    #[inline(never)]
    fn open(&mut self, end: u16, bound: u16) -> Fault {
        self.frames.open += 1;
        self.frames.loops += usize::from(bound > 0);
        let (pc, base, tally) = (self.pc, self.depth as u8, self.tally);
        let frame = self.frames.outer(1).ok_or(Why::TooMany)?;
        (frame.pc, frame.end, frame.bound, frame.base) = (pc, end, bound, base);
        (frame.otherwise, frame.depth, frame.tally) = (false, base, tally);
        self.frames.blocks_max = self.frames.blocks_max.max(self.frames.open);
        self.frames.loops_max = self.frames.loops_max.max(self.frames.loops);
        need(self.frames.loops <= LOOPS_MAX, Why::TooMany)
    }

    fn jump(&mut self, target: u16) -> Fault {
        self.need_forward(target, 2)?;
        let frame = self.frames.outer(1).ok_or(Why::Control)?;
        let last = frame.bound == 0 && !frame.otherwise && frame.end == self.pc + 1;
        need(last, Why::Control)?;
        (frame.otherwise, frame.end, frame.types, frame.depth) = (true, target, self.types, self.depth as u8);
        core::mem::swap(&mut frame.tally, &mut self.tally);
        self.depth = usize::from(frame.base);
        Ok(())
    }

    fn end_loop(&mut self, start: u16) -> Fault {
        let frame = self.frames.outer(1).ok_or(Why::Control)?;
        let right =
            frame.bound > 0 && u32::from(start) == u32::from(frame.pc) + 1 && self.depth == usize::from(frame.base);
        need(right, Why::Control)?;
        for (count, before) in self.tally.iter_mut().zip(&frame.tally) {
            let body = u64::from(count.wrapping_sub(*before)) * u64::from(frame.bound);
            *count = u32::try_from(body + u64::from(*before)).map_err(|_| Why::Limits)?;
        }
        self.frames.open -= 1;
        self.frames.loops -= 1;
        Ok(())
    }
}
