//! Blocks, loops and what an execution can cost: docs/svm.md, Control.

use crate::program::{SiteKind, Word};
use crate::refusal::{Checked, Why};
use crate::table::Entry;
use crate::value::ValueType;
use crate::verify::{Pass, TypeStack};

const LOOPS_MAX: usize = 8;

/// What the instructions up to one point can cost together, the worst of all ways to it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub fuel: u32,
    pub actions: u32,
    pub emits: u32,
    pub reads: u32,
    pub llm: u32,
    pub scratch: u32,
    /// Words in which the actions are kept until the commit.
    pub action_words: u32,
}

impl Tally {
    /// Combine each count with its counterpart; nothing when one does not fit.
    fn with(self, other: Self, combine: impl Fn(u32, u32) -> Option<u32>) -> Option<Self> {
        Some(Self {
            fuel: combine(self.fuel, other.fuel)?,
            actions: combine(self.actions, other.actions)?,
            emits: combine(self.emits, other.emits)?,
            reads: combine(self.reads, other.reads)?,
            llm: combine(self.llm, other.llm)?,
            scratch: combine(self.scratch, other.scratch)?,
            action_words: combine(self.action_words, other.action_words)?,
        })
    }

    /// The larger of each count.
    pub fn larger(self, other: Self) -> Self {
        self.with(other, |one, two| Some(one.max(two))).unwrap_or(self)
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
    /// How many values the first arm left, once the else arm is open.
    first: Option<u8>,
    /// Their types, from the base of the block on.
    types: TypeStack<TYPES>,
    /// Before the block; of an else arm: after the first arm.
    tally: Tally,
}

/// The open blocks of a handler.
pub(crate) struct Frames<const TYPES: usize, const BLOCKS: usize> {
    frames: [Frame<TYPES>; BLOCKS],
    open: usize,
    loops: usize,
    /// The last instruction of the handler, where every block must be over.
    pub end: usize,
    pub blocks_max: usize,
    pub loops_max: usize,
}

impl<const TYPES: usize, const BLOCKS: usize> Frames<TYPES, BLOCKS> {
    pub fn new() -> Self {
        let tally = Tally::default();
        let types = TypeStack::new();
        let frame = Frame { pc: 0, end: 0, bound: 0, base: 0, first: None, types, tally };
        Self { frames: [frame; BLOCKS], open: 0, loops: 0, end: 0, blocks_max: 0, loops_max: 0 }
    }

    fn last(&mut self) -> Option<&mut Frame<TYPES>> {
        self.frames.get_mut(self.open.checked_sub(1)?)
    }

    /// The depth of the stack below which the innermost block does not pop.
    pub fn base(&self) -> usize {
        self.outer(1).map_or(0, |frame| usize::from(frame.base))
    }

    /// Where the block `levels` out, 1 the innermost, is over at the latest.
    fn end(&self, levels: usize) -> usize {
        self.outer(levels).map_or(self.end, |frame| usize::from(frame.end))
    }

    fn outer(&self, levels: usize) -> Option<&Frame<TYPES>> {
        self.frames.get(self.open.checked_sub(levels)?)
    }
}

impl<const TYPES: usize, const BLOCKS: usize> Pass<'_, '_, TYPES, BLOCKS> {
    /// Count one instruction.
    pub fn count(&mut self, word: Word, entry: Entry) -> Checked<()> {
        let mut more = Tally { fuel: entry.cost(), ..Tally::default() };
        match entry.cost_plus() {
            1 => {
                more.fuel += u32::from(word.b);
                more.scratch = u32::from(word.b);
            }
            2 => more.fuel += self.program.timer(word.b).map_or(0, |timer| u32::from(timer.capacity)),
            3 => self.count_site(word.b, &mut more),
            _ => more.scratch = crate::effects::scratch_bytes(word.opcode),
        }
        self.add(more)
    }

    fn count_site(&self, index: u16, more: &mut Tally) {
        let Some(site) = self.program.site(index) else {
            return;
        };
        more.fuel += u32::from(site.cost);
        *match site.kind {
            SiteKind::Act => &mut more.actions,
            SiteKind::Emit => &mut more.emits,
            SiteKind::Read => &mut more.reads,
            SiteKind::Llm => &mut more.llm,
        } = 1;
        match site.result() {
            Some(result) => more.scratch = u32::from(result.slot.size_bytes_max),
            None => more.action_words = 1 + u32::from(site.args),
        }
    }

    fn add(&mut self, more: Tally) -> Checked<()> {
        self.tally = self.tally.with(more, u32::checked_add).ok_or(self.fault(Why::Limits))?;
        Ok(())
    }

    /// Close every BRANCH block that ends before this instruction.
    pub fn close_finished(&mut self) -> Checked<()> {
        while let Some(frame) = self.frames.last().copied().filter(|frame| self.pc >= usize::from(frame.end)) {
            self.need(frame.bound == 0, Why::Control)?;
            let (base, first) = (usize::from(frame.base), usize::from(frame.first.unwrap_or(0)));
            let same = self.depth == base + first
                && (base..self.depth).all(|index| self.types.get(index) == frame.types.get(index));
            self.need(same, Why::Stack)?;
            self.frames.open -= 1;
            self.tally = self.tally.larger(frame.tally);
        }
        Ok(())
    }

    fn open(&mut self, end: usize, bound: u16) -> Checked<()> {
        let frame = Frame {
            pc: self.pc as u16,
            end: end as u16,
            bound,
            base: self.depth as u8,
            first: None,
            types: TypeStack::new(),
            tally: self.tally,
        };
        self.frames.open += 1;
        self.frames.loops += usize::from(bound > 0);
        self.need(self.frames.open <= BLOCKS && self.frames.loops <= LOOPS_MAX, Why::TooMany)?;
        if let Some(last) = self.frames.last() {
            *last = frame;
        }
        self.frames.blocks_max = self.frames.blocks_max.max(self.frames.open);
        self.frames.loops_max = self.frames.loops_max.max(self.frames.loops);
        Ok(())
    }

    pub fn branch(&mut self, word: Word) -> Checked<()> {
        self.pop(ValueType::Bool)?;
        let target = usize::from(word.b);
        self.need(self.pc < target && target <= self.frames.end(1), Why::Control)?;
        self.open(target, 0)
    }

    pub fn jump(&mut self, word: Word) -> Checked<()> {
        let (target, pc, outer) = (usize::from(word.b), self.pc, self.frames.end(2));
        let fault = self.fault(Why::Control);
        let (types, depth) = (self.types, self.depth);
        let Some(frame) = self
            .frames
            .last()
            .filter(|frame| frame.bound == 0 && frame.first.is_none() && usize::from(frame.end) == pc + 1)
        else {
            return Err(fault);
        };
        if !(pc < target && target <= outer) {
            return Err(fault);
        }
        let base = usize::from(frame.base);
        frame.first = Some(depth.saturating_sub(base) as u8);
        frame.types = types;
        frame.end = word.b;
        core::mem::swap(&mut frame.tally, &mut self.tally);
        self.depth = base;
        Ok(())
    }

    pub fn loop_(&mut self, word: Word) -> Checked<()> {
        self.pop(ValueType::Int)?;
        self.need(word.b > 0, Why::Control)?;
        self.open(self.frames.end(1), word.b)
    }

    pub fn end_loop(&mut self, word: Word) -> Checked<()> {
        let fault = self.fault(Why::Control);
        let closes = |frame: &Frame<TYPES>| frame.bound > 0 && usize::from(word.b) == usize::from(frame.pc) + 1;
        let Some(frame) = self.frames.last().copied().filter(closes) else {
            return Err(fault);
        };
        self.need(self.depth == usize::from(frame.base), Why::Stack)?;
        self.frames.open -= 1;
        self.frames.loops -= 1;
        let bound = u32::from(frame.bound);
        let total = |all: u32, before: u32| all.checked_sub(before)?.checked_mul(bound)?.checked_add(before);
        self.tally = self.tally.with(frame.tally, total).ok_or(self.fault(Why::Limits))?;
        Ok(())
    }

    pub fn loop_index(&mut self, word: Word) -> Checked<()> {
        self.need(usize::from(word.a) < self.frames.loops, Why::Control)?;
        self.push(ValueType::Int)
    }

    pub fn return_(&self) -> Checked<()> {
        self.need(self.frames.open == 0, Why::Control)?;
        self.need(self.depth == 0, Why::Stack)
    }
}
