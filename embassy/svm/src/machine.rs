//! The interpreter: one verified instruction after the other, without type checks. docs/svm.md, Execution.

use crate::cycle::cycle;
use crate::instance::{Instance, Misfit, fits, own_offset};
use crate::isa::Trap;
use crate::memory::{Memory, Workspace, put, put_words};
use crate::program::Program;
use crate::value::{Handle, Space, Texts, Value, ValueType, canonical};
use crate::verify::Verified;
use crate::world::Host;

pub(crate) const LOOPS_MAX: usize = 8;

/// One event for one trigger.
#[derive(Clone, Copy)]
pub struct Event<'e> {
    /// Index of the trigger whose handler runs.
    pub trigger: usize,
    /// Microseconds since 1970-01-01T00:00Z, at least 0 and below 2^62.
    pub time_us: i64,
    /// What LOCAL_NOW adds.
    pub utc_offset_us: i64,
    /// The flattened payload.
    pub inputs: &'e [Value<'e>],
}

/// How a run of an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// RETURN was reached: state is committed, actions were handed to the host.
    Ok,
    /// A capability failed whose declared answer is skip; nothing has changed.
    Skipped,
    /// An instruction trapped; nothing has changed.
    Trapped(Trap),
    /// The host has no answer yet. Run it again, with the workspace untouched, or forget it: nothing has changed.
    Pending,
}

/// An execution: what is kept beside the memory while it runs.
#[derive(Clone, Copy)]
pub struct Execution {
    /// Fuel used, the instruction that ended it included; while it is suspended without the one that asks.
    pub fuel: u32,
    /// The instruction that runs, or that ended it.
    pub pc: u16,
    /// The word above the operand stack.
    pub(crate) top: u16,
    pub(crate) loops: u8,
    /// Of each open loop: the trip, from 0, of how many.
    pub(crate) trips: [(u16, u16); LOOPS_MAX],
    /// Bytes of scratch in use, and the word above the actions.
    pub(crate) scratch: usize,
    pub(crate) actions: usize,
    pub(crate) time_us: i64,
    pub(crate) utc_offset_us: i64,
}

/// A verified program on its memory.
pub struct Machine<'r, 'a, 'm> {
    program: &'r Program<'a>,
    instance: &'r mut Instance<'m>,
    memory: Memory<'r>,
}

impl<'r, 'a, 'm> Machine<'r, 'a, 'm> {
    /// Put a program on its memory.
    ///
    /// # Errors
    /// [`Misfit::Memory`] when the workspace is too small.
    pub fn new(
        program: &'r Verified<'a>,
        instance: &'r mut Instance<'m>,
        workspace: &'r mut Workspace<'_>,
    ) -> Result<Self, Misfit> {
        let memory = workspace.split(program)?;
        Ok(Self { program: &program.program, instance, memory })
    }

    /// Begin an execution: fill the memory with parameters, inputs and state. Nothing runs yet.
    ///
    /// # Errors
    /// [`Misfit::Index`] for a trigger that there is none of, [`Misfit::Value`] for inputs of another shape.
    pub fn start(&mut self, event: &Event<'_>) -> Result<Execution, Misfit> {
        let handler = self.program.handler(event.trigger).ok_or(Misfit::Index)?;
        let (params, base) = (usize::from(self.program.regions.params), self.program.regions.state_base());
        let (known, state) = self.instance.words.split_at_checked(params).ok_or(Misfit::Memory)?;
        let total = self.program.regions.total();
        self.memory.words.get_mut(..total).unwrap_or(&mut []).fill(0);
        put_words(self.memory.words, 0, known);
        put_words(self.memory.words, base, state);
        let inputs = usize::from(handler.input_base)..usize::from(handler.input_end);
        let mut scratch = 0;
        if event.inputs.len() != inputs.len() {
            return Err(Misfit::Value);
        }
        for (slot, value) in inputs.zip(event.inputs) {
            if !fits(*value, self.program.slot_at(slot)) {
                return Err(Misfit::Value);
            }
            let word = match *value {
                Value::Bool(value) => u64::from(value),
                Value::Int(value) => value as u64,
                Value::Float(value) => canonical(value.to_bits()),
                Value::Text(text) => self.memory.append(&mut scratch, text).word(),
            };
            self.memory.store(slot, word);
        }
        Ok(Execution {
            fuel: 0,
            pc: handler.entry,
            top: total as u16,
            loops: 0,
            trips: [(0, 0); LOOPS_MAX],
            scratch,
            actions: total + self.program.stack_max(),
            time_us: event.time_us,
            utc_offset_us: event.utc_offset_us,
        })
    }

    /// Run an execution to its end, or to an answer that the host does not have yet.
    #[inline(never)]
    pub fn run(&mut self, execution: &mut Execution, host: &mut dyn Host) -> Status {
        let own = &*self.instance.bytes;
        let mut run = Run { program: self.program, own, memory: &mut self.memory, execution };
        let stop = loop {
            let word = match cycle(run.program, run.memory.words, run.execution) {
                Ok(word) => word,
                Err(trap) => break Status::Trapped(trap),
            };
            if let Err(stop) = run.step(word, host) {
                break stop;
            }
        };
        if stop == Status::Ok {
            run.keep_texts();
            run.act(host);
            self.commit();
        }
        stop
    }

    /// Put the state slots back into the instance.
    fn commit(&mut self) {
        let program = self.program;
        let (params, base) = (usize::from(program.regions.params), program.regions.state_base());
        let (words, bytes, memory) = (&mut *self.instance.words, &mut *self.instance.bytes, &self.memory);
        let (base, end) = (base, program.regions.state_end());
        put_words(words, params, memory.words.get(base..end).unwrap_or(&[]));
        if !program.has_text {
            return;
        }
        program.runs(&mut |first, next, kind| {
            let texts = if kind.value_type == ValueType::Text { first.max(base)..next.min(end) } else { 0..0 };
            for slot in texts {
                let word = commit_text(program, bytes, memory, slot, Handle::from_word(memory.load(slot)));
                put_words(words, slot - base + params, &[word]);
            }
        });
    }
}

/// Copy a text to its own place, unless it lies there.
fn commit_text(program: &Program<'_>, bytes: &mut [u8], memory: &Memory<'_>, slot: usize, text: Handle) -> u64 {
    let offset = own_offset(program, slot);
    if text.space != Space::Own {
        put(bytes, offset, Texts { program: program.bytes, own: &[], scratch: memory.scratch }.get(text));
    }
    Handle::new(Space::Own, offset, usize::from(text.size)).word()
}

/// An execution under way. What a proof excludes reads zeros or does nothing, and ends at the latest with the fuel.
pub(crate) struct Run<'x, 'r, 'a> {
    pub program: &'x Program<'a>,
    pub own: &'x [u8],
    pub memory: &'x mut Memory<'r>,
    pub execution: &'x mut Execution,
}

impl Run<'_, '_, '_> {
    #[inline(never)]
    pub fn push(&mut self, word: u64) {
        self.memory.store(usize::from(self.execution.top), word);
        self.execution.top = self.execution.top.wrapping_add(1);
    }

    #[inline(never)]
    pub fn pop(&mut self) -> u64 {
        self.execution.top = self.execution.top.wrapping_sub(1);
        self.memory.load(usize::from(self.execution.top))
    }

    pub fn texts(&self) -> Texts<'_> {
        Texts { program: self.program.bytes, own: self.own, scratch: self.memory.scratch }
    }

    pub fn pay(&mut self, fuel: u16) {
        self.execution.fuel = self.execution.fuel.wrapping_add(u32::from(fuel));
    }
}
