//! One of the four programs of a board, with its memory.

use eyeflow_link::Counters;
use eyeflow_slots::Probation;
use eyeflow_state::{Clock, record_bytes_max, restore, save};
use eyeflow_svm::{Instance, Misfit, Program, Trigger, Verified};

use crate::board;
use crate::io::Line;
use crate::world::World;

/// Triggers that a program may have on a board.
pub const TRIGGERS_MAX: usize = 4;
/// Bytes for the parameters of a program, beside its state.
const PARAM_BYTES: usize = 64;
/// Words of a program's own memory: parameters, state, and behind them their texts.
pub const INSTANCE_WORDS: usize = (board::STATE_BYTES + PARAM_BYTES) / 8;
/// The longest record of what a place keeps on flash.
pub const RECORD_BYTES: usize = record_bytes_max(INSTANCE_WORDS);
/// Words of one execution: slots, stack, and up to three words for each action.
pub const EXECUTION_WORDS: usize = board::SLOTS_MAX + board::STACK_MAX + 3 * board::ACTIONS_MAX;
/// Words that programs share; between executions a record.
pub const WORK_WORDS: usize = larger(EXECUTION_WORDS, RECORD_BYTES / 8 + 1);
/// Bytes that programs share: text made in one execution, and the texts of state.
pub const WORK_BYTES: usize = board::SCRATCH_BYTES;

const fn larger(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

/// What starts a handler.
#[derive(Clone, Copy)]
pub enum Start {
    /// Each period, in microseconds, and when it is due next.
    Every { period_us: u64, due_us: u64 },
    /// An edge of an input.
    Edge { input: u8, rises: bool, falls: bool },
    /// Not used.
    Never,
}

/// A program that runs.
pub struct Loaded {
    pub verified: Verified<'static>,
    /// The first bytes of its id.
    pub key: u64,
    pub starts: [Start; TRIGGERS_MAX],
    /// The time of its last event: it never goes back.
    pub last_us: i64,
}

/// One place: a program or none, its memory, and what it did.
pub struct Place {
    pub loaded: Option<Loaded>,
    memory: &'static mut [u64; INSTANCE_WORDS],
    pub counters: Counters,
    pub probation: Probation,
    /// The parameters that were set, one bit each.
    pub params_set: u64,
    /// What flash holds of it, and when it may be written again, in seconds since the start.
    pub kept: u32,
    pub due_s: u32,
}

impl Place {
    /// An empty place on its memory.
    pub fn new(memory: &'static mut [u64; INSTANCE_WORDS]) -> Self {
        Self {
            loaded: None,
            memory,
            counters: Counters::default(),
            probation: Probation::new(),
            params_set: 0,
            kept: 0,
            due_s: 0,
        }
    }

    /// No program, nothing counted.
    pub fn clear(&mut self) {
        self.loaded = None;
        self.counters = Counters::default();
        self.probation = Probation::new();
        self.params_set = 0;
    }

    /// Put a program here: parameters and state as the record has them, else at their initial values. Returns the clock
    /// of the record.
    pub fn load(
        &mut self,
        verified: Verified<'static>,
        key: u64,
        record: Option<&[u8]>,
        now_us: u64,
    ) -> Result<Clock, Misfit> {
        let (words, bytes) = halves(self.memory, &verified);
        let mut instance = Instance::new(&verified, words, bytes)?;
        let restored = record.and_then(|record| restore(&verified, &mut instance, record));
        let clock = restored.map_or(Clock::default(), |restored| restored.clock);
        self.params_set = restored.map_or(0, |restored| restored.params_set);
        let starts = starts(verified.program(), now_us).ok_or(Misfit::Index)?;
        self.loaded = Some(Loaded { verified, key, starts, last_us: clock.last_us });
        self.counters.running = 1;
        Ok(clock)
    }

    /// Write the record of this place; gives its length, 0 without a program.
    pub fn record(&mut self, told: bool, out: &mut [u8]) -> usize {
        let params_set = self.params_set;
        let Some((loaded, instance)) = self.parts() else {
            return 0;
        };
        let clock = Clock { last_us: loaded.last_us, told };
        save(&loaded.verified, &instance, clock, params_set, out).unwrap_or(0)
    }

    /// The clock was set: from `since_us` on, what is remembered moves along. No time lies after `now_us`.
    pub fn shift(&mut self, since_us: i64, step_us: i64, now_us: i64) {
        if let Some((loaded, mut instance)) = self.parts() {
            instance.shift_times(loaded.verified.program(), since_us, step_us);
            if loaded.last_us >= since_us {
                loaded.last_us = loaded.last_us.wrapping_add(step_us);
            }
            loaded.last_us = loaded.last_us.min(now_us);
        }
    }

    /// The same program lies somewhere else now.
    pub fn moved(&mut self, verified: Verified<'static>) {
        if let Some(loaded) = &mut self.loaded {
            loaded.verified = verified;
        }
    }

    /// The program and its memory.
    pub fn parts(&mut self) -> Option<(&mut Loaded, Instance<'_>)> {
        let loaded = self.loaded.as_mut()?;
        let (words, bytes) = halves(self.memory, &loaded.verified);
        let instance = Instance::keep(&loaded.verified, words, bytes).ok()?;
        Some((loaded, instance))
    }
}

/// The memory of a place as words for parameters and state, and what is left as bytes for their texts.
fn halves<'m>(memory: &'m mut [u64; INSTANCE_WORDS], verified: &Verified<'_>) -> (&'m mut [u64], &'m mut [u8]) {
    let count = verified.needs().instance_words.min(INSTANCE_WORDS);
    let (words, rest) = memory.split_at_mut(count);
    let size = size_of_val(rest);
    // SAFETY: the bytes are those of `rest`, borrowed as long, and every bit pattern is a valid byte and a valid word.
    let bytes = unsafe { core::slice::from_raw_parts_mut(rest.as_mut_ptr().cast::<u8>(), size) };
    (words, bytes)
}

/// Whether a place of this board has the memory for a program.
pub fn fits(verified: &Verified<'_>) -> bool {
    let needs = verified.needs();
    needs.instance_words * 8 + needs.instance_bytes <= INSTANCE_WORDS * 8
        && needs.work_words <= EXECUTION_WORDS
        && needs.work_bytes <= WORK_BYTES
}

/// What starts each handler of a program; nothing when this board cannot.
pub fn starts(program: &Program<'_>, now_us: u64) -> Option<[Start; TRIGGERS_MAX]> {
    let mut starts = [Start::Never; TRIGGERS_MAX];
    for index in 0..program.triggers() {
        *starts.get_mut(index)? = start(&program.trigger(index)?, now_us)?;
    }
    Some(starts)
}

fn start(trigger: &Trigger<'_>, now_us: u64) -> Option<Start> {
    match (trigger.kind, trigger.source) {
        (0, _) => Some(Start::Every { period_us: trigger.period_us, due_us: now_us }),
        (2, b"gpio") => edge(trigger.address),
        _ => None,
    }
}

/// `DOOR rises`, `DOOR falls` or `DOOR changes`.
fn edge(address: &[u8]) -> Option<Start> {
    let space = address.iter().position(|&byte| byte == b' ')?;
    let (name, way) = address.split_at_checked(space)?;
    let Line::Input(input) = World::line_named(name)? else {
        return None;
    };
    let (rises, falls) = match way {
        b" rises" => (true, false),
        b" falls" => (false, true),
        b" changes" => (true, true),
        _ => return None,
    };
    Some(Start::Edge { input, rises, falls })
}
