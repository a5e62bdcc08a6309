//! The durable memory of one running program: its parameters and its state.

use crate::memory::put;
use crate::program::Program;
use crate::table::TimerEntry;
use crate::tables::read_param;
use crate::types::Slot;
use crate::value::{Handle, Space, Texts, Value, canonical};
use crate::verify::Verified;

/// What does not fit: an error of the firmware, never of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Less memory than the program needs.
    Memory,
    /// There is no such slot or parameter.
    Index,
    /// A value is of another type, too long, or out of its bounds.
    Value,
}

const TIME_UNSET: u64 = 1 << 63;
const STATE: usize = 10;
const TIMERS: usize = 7;

/// One running program's parameters and state. Texts lie in `bytes`, each at its own place.
pub struct Instance<'m> {
    pub(crate) words: &'m mut [u64],
    pub(crate) bytes: &'m mut [u8],
}

impl<'m> Instance<'m> {
    /// Take memory of the sizes in [`crate::Needs`] and put parameters and state to their initial values.
    ///
    /// # Errors
    /// [`Misfit::Memory`] when it is too small.
    pub fn new(verified: &Verified<'_>, words: &'m mut [u64], bytes: &'m mut [u8]) -> Result<Self, Misfit> {
        let mut instance = Self::keep(verified, words, bytes)?;
        instance.set_initial(&verified.program);
        Ok(instance)
    }

    /// Take memory that already holds parameters and state of this very program.
    ///
    /// # Errors
    /// [`Misfit::Memory`] when it is too small.
    pub fn keep(verified: &Verified<'_>, words: &'m mut [u64], bytes: &'m mut [u8]) -> Result<Self, Misfit> {
        let needs = verified.needs();
        match (words.get_mut(..needs.instance_words), bytes.get_mut(..needs.instance_bytes)) {
            (Some(words), Some(bytes)) => Ok(Self { words, bytes }),
            _ => Err(Misfit::Memory),
        }
    }

    fn set_initial(&mut self, program: &Program<'_>) {
        self.words.fill(0);
        let mut reader = program.params();
        for slot in 0..program.regions.params {
            let param = read_param(&mut reader);
            self.set_word(program, usize::from(slot), param.default);
        }
        let mut reader = program.section(STATE);
        let count = reader.u16();
        reader.names(count, 0);
        let mut slot = program.regions.state_base();
        for _ in 0..count {
            let type_at = reader;
            reader.skip_type();
            reader.values(type_at, &mut |word| {
                self.set_word(program, slot, word);
                slot += 1;
            });
        }
        for index in 0..program.count(TIMERS) {
            let timer = program.timer(index);
            if timer.capacity == 0 && TimerEntry::of(timer.kind).has_span() {
                self.set_word(program, usize::from(timer.base), TIME_UNSET);
            }
        }
    }

    /// Set a slot to a word of its type; a text is a handle into the program.
    fn set_word(&mut self, program: &Program<'_>, slot: usize, word: u64) {
        let texts = Texts { program: program.bytes, own: &[], scratch: &[] };
        let _ = self.set(program, slot, texts.value(program.slot_at(slot).value_type, word));
    }

    /// The value of a parameter or state slot.
    pub fn get<'t>(&'t self, program: &Program<'t>, slot: usize) -> Option<Value<'t>> {
        let word = self.words.get(place(program, slot)?)?;
        let texts = Texts { program: program.bytes, own: self.bytes, scratch: &[] };
        Some(texts.value(program.slot_at(slot).value_type, *word))
    }

    /// Set a parameter or state slot: for durable state after a restart, and for tests.
    ///
    /// # Errors
    /// [`Misfit::Index`] for another slot, [`Misfit::Value`] for a value that cannot stand there.
    pub fn set(&mut self, program: &Program<'_>, slot: usize, value: Value<'_>) -> Result<(), Misfit> {
        let at = place(program, slot).and_then(|place| self.words.get_mut(place)).ok_or(Misfit::Index)?;
        let found = program.slot_at(slot);
        if !fits(value, found) {
            return Err(Misfit::Value);
        }
        *at = match value {
            Value::Bool(value) => u64::from(value),
            Value::Int(value) => value as u64,
            Value::Float(value) => canonical(value.to_bits()),
            Value::Text(text) => {
                let offset = own_offset(program, slot);
                Handle::new(Space::Own, offset, put(self.bytes, offset, text)).word()
            }
        };
        Ok(())
    }

    /// Set a parameter by its index, checked against its bounds and its type.
    ///
    /// # Errors
    /// [`Misfit::Index`] for another parameter, [`Misfit::Value`] for a value that it does not take.
    pub fn set_param(&mut self, program: &Program<'_>, index: usize, value: Value<'_>) -> Result<(), Misfit> {
        let mut reader = program.params();
        let param = (0..program.regions.params).map(|_| read_param(&mut reader)).nth(index).ok_or(Misfit::Index)?;
        let right = match value {
            Value::Int(int) => param.scalar.takes(int, program.pins) && param.takes(int as u64),
            Value::Float(float) => param.takes(float.to_bits()),
            _ => true,
        };
        if right { self.set(program, index, value) } else { Err(Misfit::Value) }
    }
}

/// Whether a value can stand in a slot.
#[inline(never)]
pub(crate) fn fits(value: Value<'_>, slot: Slot) -> bool {
    let right = match value {
        Value::Text(text) => text.len() <= usize::from(slot.size_bytes_max) && crate::text::is_utf8(text),
        _ => true,
    };
    right && value.value_type() == slot.value_type
}

/// Where the word of a parameter or state slot lies in its instance.
pub(crate) fn place(program: &Program<'_>, slot: usize) -> Option<usize> {
    let (params, base) = (usize::from(program.regions.params), program.regions.state_base());
    if slot < params {
        return Some(slot);
    }
    let known = slot >= base && slot < program.regions.state_end();
    known.then(|| slot - base + params)
}

/// Where the text of a parameter or state slot lies in the text memory of its instance.
#[inline(never)]
pub(crate) fn own_offset(program: &Program<'_>, slot: usize) -> usize {
    let (params, base) = (usize::from(program.regions.params), program.regions.state_base());
    program.text_bytes(0, slot.min(params), 0) + program.text_bytes(base, slot, 0)
}
