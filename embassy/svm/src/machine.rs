//! The interpreter: one verified instruction after the other, without type checks. docs/svm.md, Execution.

use crate::instance::{Instance, Misfit, own_offset};
use crate::isa::{Op, Trap};
use crate::memory::{Memory, Workspace, append};
use crate::program::{Program, Word};
use crate::table::Entry;
use crate::text;
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
    /// Fuel used, the instruction that ended it included.
    pub fuel: u32,
    /// The instruction that runs, or that ended it.
    pub pc: u16,
    pub(crate) depth: u8,
    pub(crate) loops: u8,
    pub(crate) suspended: bool,
    /// Of each open loop: the trip, from 0, of how many.
    pub(crate) trips: [(u16, u16); LOOPS_MAX],
    /// Bytes of scratch and words of actions in use.
    pub(crate) scratch: usize,
    pub(crate) actions: usize,
    pub(crate) time_us: i64,
    pub(crate) utc_offset_us: i64,
}

/// A verified program on its memory.
pub struct Machine<'r, 'a, 'm> {
    program: &'r Verified<'a>,
    instance: &'r mut Instance<'m>,
    memory: Memory<'r>,
}

/// Why the loop of instructions ends.
pub(crate) enum Stop {
    Return,
    Skip,
    Pending,
    Trap(Trap),
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
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
        Ok(Self { program, instance, memory })
    }

    /// Begin an execution: fill the memory with parameters, inputs and state. Nothing runs yet.
    ///
    /// # Errors
    /// [`Misfit::Index`] for a trigger that is none, [`Misfit::Value`] for inputs of another shape.
    pub fn start(&mut self, event: &Event<'_>) -> Result<Execution, Misfit> {
        let program = &self.program.program;
        let trigger = program.trigger(event.trigger).ok_or(Misfit::Index)?;
        let next = program.trigger(event.trigger + 1).map(|next| usize::from(next.input_base));
        let (params, base) = (usize::from(program.regions.params), program.regions.state_base());
        let inputs = usize::from(trigger.input_base)..next.unwrap_or(base);
        if event.inputs.len() != inputs.len() {
            return Err(Misfit::Value);
        }
        let (known, state) = self.instance.words.split_at_checked(params).ok_or(Misfit::Memory)?;
        self.memory.slots.fill(0);
        self.memory.slots.iter_mut().zip(known).for_each(|(slot, word)| *slot = *word);
        self.memory.slots.iter_mut().skip(base).zip(state).for_each(|(slot, word)| *slot = *word);
        let mut execution = Execution {
            fuel: 0,
            pc: trigger.entry,
            depth: 0,
            loops: 0,
            suspended: false,
            trips: [(0, 0); LOOPS_MAX],
            scratch: 0,
            actions: 0,
            time_us: event.time_us,
            utc_offset_us: event.utc_offset_us,
        };
        for (slot, value) in inputs.zip(event.inputs) {
            let word = self.input(&mut execution, slot, *value).ok_or(Misfit::Value)?;
            self.memory.store(slot, word);
        }
        Ok(execution)
    }

    /// The word of an input; none when it cannot stand in its slot.
    fn input(&mut self, execution: &mut Execution, slot: usize, value: Value<'_>) -> Option<u64> {
        let slot = self.program.program.slot(slot)?;
        match value {
            _ if value.value_type() != slot.value_type => None,
            Value::Bool(value) => Some(u64::from(value)),
            Value::Int(value) => Some(value as u64),
            Value::Float(value) => Some(canonical(value.to_bits())),
            Value::Text(text) => {
                let right = text.len() <= usize::from(slot.size_bytes_max) && text::is_utf8(text);
                let scratch = &mut *self.memory.scratch;
                right.then(|| append(scratch, &mut execution.scratch, text).word())
            }
        }
    }

    /// Run an execution to its end, or to an answer that the host does not have yet.
    pub fn run(&mut self, execution: &mut Execution, host: &mut dyn Host) -> Status {
        let mut run =
            Run { program: &self.program.program, own: self.instance.bytes, memory: &mut self.memory, execution };
        loop {
            match run.instruction(host) {
                Ok(next) => run.execution.pc = next,
                Err(Stop::Return) => break,
                Err(Stop::Skip) => return Status::Skipped,
                Err(Stop::Trap(trap)) => return Status::Trapped(trap),
                Err(Stop::Pending) => return Status::Pending,
            }
        }
        run.keep_texts();
        run.act(host);
        self.commit();
        Status::Ok
    }

    /// Put the state slots back into the instance.
    fn commit(&mut self) {
        let program = &self.program.program;
        let params = usize::from(program.regions.params);
        let (base, end) = (program.regions.state_base(), program.regions.state_end());
        let mut first = 0;
        for (count, kind) in program.runs() {
            let next = first + usize::from(count);
            for slot in first.max(base)..next.min(end) {
                let word = self.memory.load(slot);
                let kept = match kind.value_type {
                    ValueType::Float => canonical(word),
                    ValueType::Text => self.commit_text(slot, Handle::from_word(word)),
                    _ => word,
                };
                if let Some(place) = self.instance.words.get_mut(slot - base + params) {
                    *place = kept;
                }
            }
            first = next;
        }
    }

    /// Copy a text to its own place, unless it lies there.
    fn commit_text(&mut self, slot: usize, text: Handle) -> u64 {
        let offset = own_offset(&self.program.program, slot);
        if text.space != Space::Own {
            let texts = Texts { program: self.program.program.bytes, own: &[], scratch: self.memory.scratch };
            let place = self.instance.bytes.get_mut(offset..).unwrap_or(&mut []);
            place.iter_mut().zip(texts.get(text)).for_each(|(place, byte)| *place = *byte);
        }
        Handle::new(Space::Own, offset, usize::from(text.size)).word()
    }
}

/// An execution under way.
pub(crate) struct Run<'x, 'r, 'a> {
    pub program: &'x Program<'a>,
    pub own: &'x [u8],
    pub memory: &'x mut Memory<'r>,
    pub execution: &'x mut Execution,
}

impl Run<'_, '_, '_> {
    pub fn push(&mut self, word: u64) {
        if let Some(place) = self.memory.stack.get_mut(usize::from(self.execution.depth)) {
            *place = word;
        }
        self.execution.depth = self.execution.depth.wrapping_add(1);
    }

    pub fn pop(&mut self) -> u64 {
        self.execution.depth = self.execution.depth.wrapping_sub(1);
        self.memory.stack.get(usize::from(self.execution.depth)).copied().unwrap_or(0)
    }

    pub fn texts(&self) -> Texts<'_> {
        Texts { program: self.program.bytes, own: self.own, scratch: self.memory.scratch }
    }

    /// Pay for an instruction and run it; the index of the next one. What a proof excludes is FUEL_EXHAUSTED.
    fn instruction(&mut self, host: &mut dyn Host) -> Result<u16, Stop> {
        let impossible = Stop::Trap(Trap::FuelExhausted);
        let Some(word) = self.program.word(usize::from(self.execution.pc)) else {
            return Err(impossible);
        };
        let (Some(entry), Some(op)) = (Entry::of(word.opcode), Op::from_code(word.opcode)) else {
            return Err(impossible);
        };
        if !self.execution.suspended {
            self.execution.fuel = self.execution.fuel.saturating_add(self.cost(word, entry));
        }
        self.execution.suspended = false;
        if self.execution.fuel > self.program.limits.fuel_max {
            return Err(impossible);
        }
        let next = self.execution.pc.wrapping_add(1);
        match op {
            Op::Branch => Ok(if self.pop() == 0 { word.b } else { next }),
            Op::Jump => Ok(word.b),
            Op::EndLoop => Ok(self.end_loop(word, next)),
            Op::Return => Err(Stop::Return),
            Op::LoadResource | Op::LlmCall => self.ask(word, host).map(|()| next),
            _ => self.step(op, word).map(|()| next),
        }
    }

    fn cost(&self, word: Word, entry: Entry) -> u32 {
        let plus = match entry.cost_plus() {
            0 => 0,
            1 => u32::from(word.b),
            2 => self.program.timer(word.b).map_or(0, |timer| u32::from(timer.capacity)),
            _ => self.program.site(word.b).map_or(0, |site| u32::from(site.cost)),
        };
        entry.cost() + plus
    }

    fn step(&mut self, op: Op, word: Word) -> Result<(), Stop> {
        match op {
            Op::Load => self.push(self.memory.load(usize::from(word.b))),
            Op::Store => {
                let value = self.pop();
                self.store(usize::from(word.b), value);
            }
            Op::Const => self.push(self.program.constant(word.b).map_or(0, |constant| constant.1)),
            Op::PushInt => self.push(i64::from(word.b as i16) as u64),
            Op::PushBool => self.push(u64::from(word.a)),
            Op::Pop => {
                self.pop();
            }
            Op::Dup => {
                let value = self.pop();
                self.push(value);
                self.push(value);
            }
            Op::Select => {
                let (top, lower, condition) = (self.pop(), self.pop(), self.pop());
                self.push(if condition != 0 { lower } else { top });
            }
            Op::LoadAt | Op::StoreAt | Op::Grow => self.array(op, word)?,
            Op::Loop => self.loop_(word)?,
            Op::LoopIndex => self.loop_index(word),
            Op::CallAction | Op::EmitEvent => self.collect(word),
            Op::Now => self.push(self.execution.time_us as u64),
            Op::LocalNow => self.push(self.execution.time_us.wrapping_add(self.execution.utc_offset_us) as u64),
            Op::Eval | Op::Reset => self.timer(op, word),
            _ => self.operate(op, word)?,
        }
        Ok(())
    }
}
