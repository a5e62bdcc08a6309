//! The proof that a program is safe: one linear pass over its code with typed stack states (docs/svm.md, Verification).

use crate::control::{Frames, Tally, raise};
use crate::isa::code;
use crate::program::{Handler, Program, Word};
use crate::refusal::{Checked, Fault, Refusal, Why, need};
use crate::table::Entry;
use crate::value::ValueType;

const LINUX: u8 = 0;

/// A program whose code is proven: only such a one can run.
#[derive(Clone, Copy)]
pub struct Verified<'a> {
    pub(crate) program: Program<'a>,
    needs: Needs,
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

/// Prove a program within the bounds of its profile, as servers do. Takes about 5 KB of stack.
///
/// # Errors
/// Refuses code that cannot be proven, and limits that are not exactly those that are proven.
pub fn verify<'a>(program: &Program<'a>) -> Result<Verified<'a>, Refusal> {
    if program.profile == LINUX { Pass::<16, 64>::new(program).run() } else { verify_mcu(program) }
}

/// Prove a program within the bounds of the mcu profile: 32 entries of stack, 32 blocks. Takes about 2 KB of stack.
///
/// # Errors
/// As [`verify`]; also refuses what needs more.
#[inline(never)]
pub fn verify_mcu<'a>(program: &Program<'a>) -> Result<Verified<'a>, Refusal> {
    Pass::<8, 32>::new(program).run()
}

impl<'a> Verified<'a> {
    /// The program.
    pub fn program(&self) -> &Program<'a> {
        &self.program
    }

    /// The memory that it needs.
    pub fn needs(&self) -> Needs {
        self.needs
    }
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

    #[inline(never)]
    pub fn get(&self, index: usize) -> ValueType {
        let byte = self.bits.get(index / 4).copied().unwrap_or(0);
        ValueType::of(byte >> (index % 4 * 2))
    }

    pub fn set(&mut self, index: usize, value_type: ValueType) {
        if let Some(byte) = self.bits.get_mut(index / 4) {
            let shift = index % 4 * 2;
            *byte = *byte & !(3 << shift) | (value_type as u8) << shift;
        }
    }
}

/// The linear pass over the handlers of a program. A fault is at instruction `pc`.
pub(crate) struct Pass<'p, 'a, const TYPES: usize, const BLOCKS: usize> {
    pub program: &'p Program<'a>,
    pub frames: Frames<TYPES, BLOCKS>,
    pub types: TypeStack<TYPES>,
    pub depth: usize,
    pub pc: u16,
    pub handler: Handler,
    pub tally: Tally,
    worst: Tally,
    stack_max: usize,
}

impl<'p, 'a, const TYPES: usize, const BLOCKS: usize> Pass<'p, 'a, TYPES, BLOCKS> {
    #[inline(always)]
    const fn new(program: &'p Program<'a>) -> Self {
        Self {
            program,
            frames: Frames::EMPTY,
            types: TypeStack::new(),
            depth: 0,
            pc: 0,
            handler: Handler { kind: 0, key: 0, entry: 0, end: 0, input_base: 0, input_end: 0 },
            tally: [0; 7],
            worst: [0; 7],
            stack_max: 0,
        }
    }

    #[inline(never)]
    fn run(&mut self) -> Checked<Verified<'a>> {
        match self.prove() {
            Ok(needs) => Ok(Verified { program: *self.program, needs }),
            Err(why) => Err(Refusal::new(why, usize::from(self.pc))),
        }
    }

    fn prove(&mut self) -> Result<Needs, Why> {
        for index in 0..self.program.triggers() {
            self.handler = self.program.handler_at(index);
            self.tally = [0; 7];
            for pc in self.handler.entry..self.handler.end {
                self.pc = pc;
                self.close_finished()?;
                self.step(self.program.word(pc))?;
            }
            raise(&mut self.worst, &self.tally);
        }
        self.compare()
    }

    fn step(&mut self, word: Word) -> Fault {
        let entry = Entry::of(word.opcode);
        need(entry.cost() > 0, Why::Unknown)?;
        need((word.a == 0 || entry.has_a()) && (word.b == 0 || entry.has_b()), Why::Padding)?;
        need((word.opcode == code::RETURN) == (self.pc + 1 == self.handler.end), Why::Control)?;
        self.effect(word, entry)
    }

    /// Add to one count of the tally.
    #[inline(never)]
    pub fn count(&mut self, index: usize, more: u32) -> Fault {
        let count = self.tally.get_mut(index).ok_or(Why::Limits)?;
        *count = count.checked_add(more).ok_or(Why::Limits)?;
        Ok(())
    }

    #[inline(never)]
    pub fn pop(&mut self, value_type: ValueType) -> Fault {
        let rest = self.depth.wrapping_sub(1);
        need(self.depth > self.frames.base() && self.types.get(rest) == value_type, Why::Stack)?;
        self.depth = rest;
        Ok(())
    }

    #[inline(never)]
    pub fn push(&mut self, value_type: ValueType) -> Fault {
        need(self.depth < TypeStack::<TYPES>::SIZE, Why::Stack)?;
        self.types.set(self.depth, value_type);
        self.depth += 1;
        self.stack_max = self.stack_max.max(self.depth);
        Ok(())
    }

    /// The type of slot `index`, which this handler must be allowed to load (or store).
    #[inline(never)]
    pub fn slot(&mut self, index: u16, store: bool) -> Result<ValueType, Why> {
        let (regions, at) = (&self.program.regions, usize::from(index));
        let right = match regions.of(at) {
            0 => !store,
            1 => !store && self.handler.input_base <= index && index < self.handler.input_end,
            _ => at < regions.total(),
        };
        need(right, Why::Operand)?;
        Ok(self.program.slot_at(at).value_type)
    }

    /// Compare what is proven with what is declared, field by field.
    fn compare(&mut self) -> Result<Needs, Why> {
        let (program, regions) = (self.program, self.program.regions);
        let (params, base, end) = (usize::from(regions.params), regions.state_base(), regions.state_end());
        let [fuel, reads, actions, llm, emits, scratch, _] = self.worst;
        let state_bytes = 8 * (end - base) + program.text_bytes(base, end, 2);
        let mut declared = program.section(2);
        let mut right = true;
        let mut field = |size, proven: u32| right &= declared.small(size) == proven;
        field(4, fuel);
        field(1, self.stack_max as u32);
        field(1, self.frames.blocks_max as u32);
        field(1, self.frames.loops_max as u32);
        field(1, 0);
        field(2, actions);
        field(2, emits);
        field(2, reads);
        field(2, llm);
        field(4, state_bytes as u32);
        field(4, scratch);
        need(right, Why::Limits)?;
        let texts = program.text_bytes(base, end, 0);
        let [.., action_words] = self.worst;
        Ok(Needs {
            instance_words: params + usize::from(regions.state),
            instance_bytes: program.text_bytes(0, params, 0) + texts,
            work_words: regions.total() + self.stack_max + action_words as usize,
            work_bytes: scratch as usize + program.text_bytes(params, base, 0) + texts,
        })
    }
}
