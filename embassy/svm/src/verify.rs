//! The proof that a program is safe: one linear pass over its code with typed stack states (docs/svm.md, Verification).

use crate::control::{Frames, Tally};
use crate::program::{Limits, Program, Word};
use crate::refusal::{Checked, Refusal, Why};
use crate::table::{ANY, Entry, type_of};
use crate::types::Slot;
use crate::value::ValueType;

const U16_MAX: u32 = u16::MAX as u32;

/// A program whose code is proven: only such a one can run.
#[derive(Clone, Copy)]
pub struct Verified<'a> {
    pub(crate) program: Program<'a>,
    action_words: u32,
}

/// The memory that a program needs to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Words of its [`crate::Instance`]: parameters and state.
    pub instance_words: usize,
    /// Bytes of text of its [`crate::Instance`].
    pub instance_bytes: usize,
    /// Words of the [`crate::Workspace`], which programs can share.
    pub work_words: usize,
    /// Bytes of the [`crate::Workspace`].
    pub work_bytes: usize,
}

/// Prove a program within the bounds of the format: 64 entries of stack, 64 blocks. Takes about 4 KB of stack.
///
/// # Errors
/// Refuses code that cannot be proven, and limits that are not exactly those that are proven.
pub fn verify<'a>(program: &Program<'a>) -> Result<Verified<'a>, Refusal> {
    prove::<16, 64>(program)
}

/// Prove a program within the bounds of the mcu profile: 32 entries of stack, 32 blocks. Takes about 1 KB of stack.
///
/// # Errors
/// As [`verify`]; also refuses what needs more.
pub fn verify_mcu<'a>(program: &Program<'a>) -> Result<Verified<'a>, Refusal> {
    prove::<8, 32>(program)
}

fn prove<'a, const TYPES: usize, const BLOCKS: usize>(program: &Program<'a>) -> Checked<Verified<'a>> {
    let mut pass = Pass::<TYPES, BLOCKS>::new(program);
    for index in 0..program.triggers() {
        pass.handler(index)?;
    }
    pass.verified()
}

impl<'a> Verified<'a> {
    /// The program.
    pub fn program(&self) -> &Program<'a> {
        &self.program
    }

    /// The memory that it needs.
    pub fn needs(&self) -> Needs {
        let program = &self.program;
        let regions = program.regions;
        let (params, inputs) = (usize::from(regions.params), usize::from(regions.inputs));
        let params_bytes = text_bytes(program, 0, params);
        let state_bytes = text_bytes(program, regions.state_base(), regions.state_end());
        let limits = &program.limits;
        Needs {
            instance_words: params + usize::from(regions.state),
            instance_bytes: params_bytes + state_bytes,
            work_words: regions.total() + usize::from(limits.stack_max) + self.action_words as usize,
            work_bytes: limits.scratch_bytes as usize + text_bytes(program, params, params + inputs) + state_bytes,
        }
    }
}

/// The sum of the limits of the text slots from `start` to before `end`.
pub(crate) fn text_bytes(program: &Program<'_>, start: usize, end: usize) -> usize {
    let (mut at, mut sum) = (0, 0);
    for (count, slot) in program.runs() {
        let next = at + usize::from(count);
        let within = next.min(end).saturating_sub(at.max(start));
        sum += within * usize::from(slot.size_bytes_max);
        at = next;
    }
    sum
}

/// The types on the operand stack, two bits each.
#[derive(Clone, Copy)]
pub(crate) struct TypeStack<const TYPES: usize> {
    bits: [u8; TYPES],
}

impl<const TYPES: usize> TypeStack<TYPES> {
    /// How many entries fit.
    pub const SIZE: usize = TYPES * 4;

    pub const fn new() -> Self {
        Self { bits: [0; TYPES] }
    }

    pub fn get(&self, index: usize) -> ValueType {
        type_of(self.bits.get(index / 4).map_or(0, |byte| u32::from(byte >> (index % 4 * 2) & 3)))
    }

    pub fn set(&mut self, index: usize, value_type: ValueType) {
        if let Some(byte) = self.bits.get_mut(index / 4) {
            let shift = index % 4 * 2;
            *byte = *byte & !(3 << shift) | (value_type as u8) << shift;
        }
    }
}

/// The linear pass over the handlers of a program.
pub(crate) struct Pass<'p, 'a, const TYPES: usize, const BLOCKS: usize> {
    pub program: &'p Program<'a>,
    pub frames: Frames<TYPES, BLOCKS>,
    pub types: TypeStack<TYPES>,
    pub depth: usize,
    pub pc: usize,
    /// The inputs that this handler may name.
    pub inputs: core::ops::Range<usize>,
    pub tally: Tally,
    worst: Tally,
    stack_max: usize,
}

impl<'p, 'a, const TYPES: usize, const BLOCKS: usize> Pass<'p, 'a, TYPES, BLOCKS> {
    fn new(program: &'p Program<'a>) -> Self {
        Self {
            program,
            frames: Frames::new(),
            types: TypeStack::new(),
            depth: 0,
            pc: 0,
            inputs: 0..0,
            tally: Tally::default(),
            worst: Tally::default(),
            stack_max: 0,
        }
    }

    /// The fault `why` at this instruction.
    pub fn fault(&self, why: Why) -> Refusal {
        Refusal::new(why, self.pc)
    }

    pub fn need(&self, right: bool, why: Why) -> Checked<()> {
        if right { Ok(()) } else { Err(self.fault(why)) }
    }

    fn handler(&mut self, index: usize) -> Checked<()> {
        let Some(trigger) = self.program.trigger(index) else {
            return Err(self.fault(Why::Trigger));
        };
        let base = usize::from(trigger.input_base);
        let next = self.program.trigger(index + 1).map(|next| usize::from(next.input_base));
        self.inputs = base..next.unwrap_or(self.program.regions.state_base());
        self.tally = Tally::default();
        let last = usize::from(trigger.end).wrapping_sub(1);
        self.frames.end = last;
        for pc in usize::from(trigger.entry)..=last {
            self.pc = pc;
            self.close_finished()?;
            let Some(word) = self.program.word(pc) else {
                return Err(self.fault(Why::Truncated));
            };
            self.step(word, pc == last)?;
        }
        self.worst = self.worst.larger(self.tally);
        Ok(())
    }

    fn step(&mut self, word: Word, last: bool) -> Checked<()> {
        let Some(entry) = Entry::of(word.opcode) else {
            return Err(self.fault(Why::Unknown));
        };
        let operands = (word.a == 0 || entry.has_a()) && (word.b == 0 || entry.has_b());
        self.need(operands, Why::Padding)?;
        self.need((word.opcode == crate::isa::Op::Return as u8) == last, Why::Control)?;
        self.count(word, entry)?;
        self.effect(word, entry)
    }

    /// Pop and push what an instruction of a fixed signature does; X is the type on top of the stack.
    pub fn simple(&mut self, entry: Entry) -> Checked<()> {
        let top = self.depth.checked_sub(1).map_or(ValueType::Int, |index| self.types.get(index));
        let typed = |letter| if letter == ANY { top } else { type_of(letter) };
        for index in (0..entry.pops()).rev() {
            self.pop(typed(entry.pop(index)))?;
        }
        for index in 0..entry.pushes() {
            self.push(typed(entry.push(index)))?;
        }
        Ok(())
    }

    pub fn pop(&mut self, value_type: ValueType) -> Checked<()> {
        let Some(rest) = self.depth.checked_sub(1).filter(|rest| *rest >= self.frames.base()) else {
            return Err(self.fault(Why::Stack));
        };
        self.need(self.types.get(rest) == value_type, Why::Stack)?;
        self.depth = rest;
        Ok(())
    }

    pub fn push(&mut self, value_type: ValueType) -> Checked<()> {
        self.need(self.depth < TypeStack::<TYPES>::SIZE, Why::Stack)?;
        self.types.set(self.depth, value_type);
        self.depth += 1;
        self.stack_max = self.stack_max.max(self.depth);
        Ok(())
    }

    /// What slot `index` holds, if this handler may load (or store) it.
    pub fn slot(&self, index: usize, store: bool) -> Checked<Slot> {
        let first = if store { self.program.regions.state_base() } else { 0 };
        let foreign = (usize::from(self.program.regions.params)..self.program.regions.state_base()).contains(&index)
            && !self.inputs.contains(&index);
        self.need(index >= first && !foreign, Why::Operand)?;
        self.program.slot(index).ok_or(self.fault(Why::Operand))
    }

    /// Compare what is proven with what is declared.
    fn verified(self) -> Checked<Verified<'a>> {
        let worst = self.worst;
        let regions = self.program.regions;
        let (base, end) = (regions.state_base(), regions.state_end());
        let texts = text_slots(self.program, base, end);
        let proven = Limits {
            fuel_max: worst.fuel,
            stack_max: self.stack_max as u8,
            block_depth_max: self.frames.blocks_max as u8,
            loop_depth_max: self.frames.loops_max as u8,
            actions_max: worst.actions as u16,
            emits_max: worst.emits as u16,
            reads_max: worst.reads as u16,
            llm_max: worst.llm as u16,
            state_bytes: (8 * (end - base) + 2 * texts + text_bytes(self.program, base, end)) as u32,
            scratch_bytes: worst.scratch,
        };
        let fits = worst.actions.max(worst.emits).max(worst.reads).max(worst.llm) <= U16_MAX;
        if !fits || proven != self.program.limits {
            return Err(Refusal::new(Why::Limits, 0));
        }
        Ok(Verified { program: *self.program, action_words: worst.action_words })
    }
}

/// Number of text slots from `start` to before `end`.
fn text_slots(program: &Program<'_>, start: usize, end: usize) -> usize {
    let (mut at, mut sum) = (0, 0);
    for (count, slot) in program.runs() {
        let next = at + usize::from(count);
        if slot.value_type == ValueType::Text {
            sum += next.min(end).saturating_sub(at.max(start));
        }
        at = next;
    }
    sum
}
