//! Blocks, loops and what an execution can cost: docs/svm.md, Control.

use crate::program::{SiteKind, Word};
use crate::refusal::Why;
use crate::value::ValueType;
use crate::verify::{Pass, TypeStack};

const LOOPS_MAX: usize = 8;
const COUNTS: usize = 7;

/// What the instructions up to one point can cost together, the worst of all ways to it.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    /// Fuel; calls at sites by kind; bytes of scratch; words in which actions are kept until the commit.
    counts: [u32; COUNTS],
}

const CALLS: usize = 1;
const ACTION_WORDS: usize = 6;

impl Tally {
    pub const ZERO: Self = Self::of(0, 0);

    /// The cost of one instruction.
    pub const fn of(fuel: u32, scratch: u32) -> Self {
        Self { counts: [fuel, 0, 0, 0, 0, scratch, 0] }
    }

    /// Count one call at a site.
    pub fn call(&mut self, kind: SiteKind, action_words: u32) {
        if let Some(count) = self.counts.get_mut(CALLS + kind as usize) {
            *count = 1;
        }
        self.counts[ACTION_WORDS] = action_words;
    }

    pub const fn action_words(&self) -> u32 {
        self.counts[ACTION_WORDS]
    }

    /// Fuel, actions, emits, reads, LLM calls and scratch.
    pub const fn limits(&self) -> [u32; 6] {
        let [fuel, reads, actions, llm, emits, scratch, _] = self.counts;
        [fuel, actions, emits, reads, llm, scratch]
    }

    /// The larger of each count.
    #[inline(never)]
    pub fn raise(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = (*count).max(*more);
        }
    }

    /// Count from `before` to here `times` times, and `more` once; false when something does not fit.
    #[inline(never)]
    fn grow(&mut self, before: &Self, times: u32, more: &Self) -> bool {
        let mut fits = true;
        for ((count, before), more) in self.counts.iter_mut().zip(&before.counts).zip(&more.counts) {
            let body = u64::from(count.wrapping_sub(*before)) * u64::from(times);
            let sum = body + u64::from(*before) + u64::from(*more);
            fits &= sum >> 32 == 0;
            *count = sum as u32;
        }
        fits
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
    /// Whether the else arm is open, and how many values the first arm left.
    otherwise: bool,
    first: u8,
    /// Their types, from the base of the block on.
    types: TypeStack<TYPES>,
    /// Before the block; of an else arm: after the first arm.
    tally: Tally,
}

impl<const TYPES: usize> Frame<TYPES> {
    const EMPTY: Self = Self {
        pc: 0,
        end: 0,
        bound: 0,
        base: 0,
        otherwise: false,
        first: 0,
        types: TypeStack::new(),
        tally: Tally::ZERO,
    };
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
    /// No block; all zero, so that it is made in place.
    pub const EMPTY: Self = Self { frames: [Frame::EMPTY; BLOCKS], open: 0, loops: 0, blocks_max: 0, loops_max: 0 };

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
    /// Count one instruction.
    pub fn count(&mut self, more: &Tally) {
        let before = self.tally;
        let fits = self.tally.grow(&before, 0, more);
        self.need(fits, Why::Limits);
    }

    /// Close every BRANCH block that ends before this instruction.
    pub fn close_finished(&mut self) {
        let pc = self.pc;
        while let Some(frame) = self.frames.outer(1).copied().filter(|frame| pc >= usize::from(frame.end)) {
            let base = usize::from(frame.base);
            let same = frame.bound == 0
                && self.depth == base + usize::from(frame.first)
                && (base..self.depth).all(|index| self.types.get(index) == frame.types.get(index));
            self.need(same, Why::Control);
            self.frames.open -= 1;
            self.tally.raise(&frame.tally);
        }
    }

    /// Where the block `levels` out is over at the latest: the last instruction of the handler, or before.
    fn end(&mut self, levels: usize) -> u16 {
        let last = self.handler.end.wrapping_sub(1);
        self.frames.outer(levels).map_or(last, |frame| frame.end)
    }

    /// Refuse a target that is not forward within the block `levels` out.
    fn need_forward(&mut self, target: u16, levels: usize) {
        let end = self.end(levels);
        self.need(self.pc < usize::from(target) && target <= end, Why::Control);
    }

    fn open(&mut self, end: u16, bound: u16) {
        self.frames.open += 1;
        self.frames.loops += usize::from(bound > 0);
        self.need(self.frames.open <= BLOCKS && self.frames.loops <= LOOPS_MAX, Why::TooMany);
        let (pc, base, tally) = (self.pc as u16, self.depth as u8, self.tally);
        if let Some(frame) = self.frames.outer(1) {
            (frame.pc, frame.end, frame.bound, frame.base) = (pc, end, bound, base);
            (frame.otherwise, frame.first, frame.tally) = (false, 0, tally);
        }
        self.frames.blocks_max = self.frames.blocks_max.max(self.frames.open);
        self.frames.loops_max = self.frames.loops_max.max(self.frames.loops);
    }

    pub fn branch(&mut self, word: Word) {
        self.pop(ValueType::Bool);
        self.need_forward(word.b, 1);
        self.open(word.b, 0);
    }

    pub fn jump(&mut self, word: Word) {
        let (pc, types, depth) = (self.pc, self.types, self.depth);
        self.need_forward(word.b, 2);
        let mut right = false;
        if let Some(frame) = self.frames.outer(1) {
            right = frame.bound == 0 && !frame.otherwise && usize::from(frame.end) == pc + 1;
            (frame.otherwise, frame.end, frame.types) = (true, word.b, types);
            frame.first = depth.wrapping_sub(usize::from(frame.base)) as u8;
            core::mem::swap(&mut frame.tally, &mut self.tally);
            self.depth = usize::from(frame.base);
        }
        self.need(right, Why::Control);
    }

    pub fn loop_(&mut self, word: Word) {
        self.pop(ValueType::Int);
        self.need(word.b > 0, Why::Control);
        let end = self.end(1);
        self.open(end, word.b);
    }

    pub fn end_loop(&mut self, word: Word) {
        let (depth, tally) = (self.depth, &mut self.tally);
        let mut right = false;
        if let Some(frame) = self.frames.outer(1) {
            right = frame.bound > 0
                && u32::from(word.b) == u32::from(frame.pc) + 1
                && depth == usize::from(frame.base)
                && tally.grow(&frame.tally, u32::from(frame.bound), &Tally::ZERO);
            self.frames.open -= 1;
            self.frames.loops = self.frames.loops.wrapping_sub(1);
        }
        self.need(right, Why::Control);
    }

    pub fn loop_index(&mut self, word: Word) {
        self.need(usize::from(word.a) < self.frames.loops, Why::Control);
        self.push(ValueType::Int);
    }

    pub fn return_(&mut self) {
        self.need(self.frames.open == 0 && self.depth == 0, Why::Control);
    }
}
