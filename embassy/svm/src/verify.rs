//! The proof that a program is safe: one linear pass over its code with typed stack states (docs/svm.md, Verification).

use crate::control::{Frames, Tally};
use crate::program::{Handler, Program, Word};
use crate::refusal::{Checked, Refusal, Why};
use crate::table::{ANY, Entry, type_of};
use crate::value::ValueType;

const LINUX: u8 = 0;

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
        let program = &self.program;
        let regions = program.regions;
        let (params, base) = (usize::from(regions.params), regions.state_base());
        let state_bytes = program.text_bytes(base, regions.state_end(), 0);
        let mut scratch = program.section(2);
        scratch.position += 20;
        Needs {
            instance_words: params + usize::from(regions.state),
            instance_bytes: program.text_bytes(0, params, 0) + state_bytes,
            work_words: regions.total() + program.stack_max() + self.action_words as usize,
            work_bytes: scratch.u32() as usize + program.text_bytes(params, base, 0) + state_bytes,
        }
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

/// The linear pass over the handlers of a program. It remembers its first fault, at instruction `pc`.
pub(crate) struct Pass<'p, 'a, const TYPES: usize, const BLOCKS: usize> {
    pub program: &'p Program<'a>,
    pub frames: Frames<TYPES, BLOCKS>,
    pub types: TypeStack<TYPES>,
    pub depth: usize,
    pub pc: usize,
    pub handler: Handler,
    pub tally: Tally,
    worst: Tally,
    stack_max: usize,
    fault: Option<Why>,
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
            handler: Handler { entry: 0, end: 0, input_base: 0, input_end: 0 },
            tally: Tally::ZERO,
            worst: Tally::ZERO,
            stack_max: 0,
            fault: None,
        }
    }

    /// Go on when `right`, else remember the fault.
    #[inline(never)]
    pub fn need(&mut self, right: bool, why: Why) {
        if !right && self.fault.is_none() {
            self.fault = Some(why);
        }
    }

    #[inline(never)]
    fn run(&mut self) -> Checked<Verified<'a>> {
        for index in 0..self.program.triggers() {
            if let Some(handler) = self.program.handler(index) {
                self.handler(handler);
            }
        }
        self.compare();
        match self.fault {
            Some(why) => Err(Refusal::new(why, self.pc)),
            None => Ok(Verified { program: *self.program, action_words: self.worst.action_words() }),
        }
    }

    fn handler(&mut self, handler: Handler) {
        self.handler = handler;
        self.tally = Tally::ZERO;
        for pc in handler.entry..handler.end {
            if self.fault.is_some() {
                return;
            }
            self.pc = usize::from(pc);
            self.close_finished();
            self.step(self.program.word(pc), pc == handler.end.wrapping_sub(1));
        }
        self.worst.raise(&self.tally);
    }

    fn step(&mut self, word: Word, last: bool) {
        let entry = Entry::of(word.opcode);
        self.need(entry.cost() > 0, Why::Unknown);
        self.need((word.a == 0 || entry.has_a()) && (word.b == 0 || entry.has_b()), Why::Padding);
        self.need((word.opcode == crate::isa::Op::Return as u8) == last, Why::Control);
        if self.fault.is_none() {
            self.effect(word, entry);
        }
    }

    /// Pop and push what an instruction of a fixed signature does; X is the type on top of the stack.
    pub fn simple(&mut self, entry: Entry) {
        let top = self.types.get(self.depth.wrapping_sub(1));
        let typed = |letter| if letter == ANY { top } else { type_of(letter) };
        for index in (0..entry.pops()).rev() {
            self.pop(typed(entry.pop(index)));
        }
        for index in 0..entry.pushes() {
            self.push(typed(entry.push(index)));
        }
    }

    #[inline(never)]
    pub fn pop(&mut self, value_type: ValueType) {
        let rest = self.depth.wrapping_sub(1);
        let right = self.depth > self.frames.base() && self.types.get(rest) == value_type;
        self.need(right, Why::Stack);
        if right {
            self.depth = rest;
        }
    }

    #[inline(never)]
    pub fn push(&mut self, value_type: ValueType) {
        self.need(self.depth < TypeStack::<TYPES>::SIZE, Why::Stack);
        self.types.set(self.depth, value_type);
        self.depth += 1;
        self.stack_max = self.stack_max.max(self.depth);
    }

    /// The type of slot `index`, which this handler must be allowed to load (or store).
    #[inline(never)]
    pub fn slot(&mut self, index: usize, store: bool) -> ValueType {
        let regions = &self.program.regions;
        let foreign = index >= usize::from(regions.params)
            && index < regions.state_base()
            && !(usize::from(self.handler.input_base)..usize::from(self.handler.input_end)).contains(&index);
        let right = !foreign && index < regions.total() && (!store || index >= regions.state_base());
        self.need(right, Why::Operand);
        self.program.slot_at(index).value_type
    }

    /// Compare what is proven with what is declared, field by field.
    fn compare(&mut self) {
        let regions = self.program.regions;
        let (base, end) = (regions.state_base(), regions.state_end());
        let state_bytes = 8 * (end - base) + self.program.text_bytes(base, end, 2);
        let mut declared = self.program.section(2);
        let depths = [self.stack_max, self.frames.blocks_max, self.frames.loops_max];
        let [fuel, actions, emits, reads, llm, scratch] = self.worst.limits();
        let mut right = declared.u32() == fuel;
        for depth in depths {
            right &= usize::from(declared.u8()) == depth;
        }
        declared.u8();
        for count in [actions, emits, reads, llm] {
            right &= u32::from(declared.u16()) == count;
        }
        right &= declared.u32() as usize == state_bytes && declared.u32() == scratch;
        self.need(right, Why::Limits);
    }
}
