//! The durable memory of one running program: its parameters, its state, its clock.

use crate::program::Program;
use crate::reader::Reader;
use crate::refusal::Checked;
use crate::table::TimerEntry;
use crate::tables::{read_param, read_variable};
use crate::types::Slot;
use crate::value::{Handle, Space, Texts, Value, canonical};
use crate::verify::{Verified, text_bytes};

/// What does not fit: an error of the firmware, never of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Less memory than the program needs.
    Memory,
    /// There is no such slot, trigger or parameter.
    Index,
    /// A value is of another type, too long, or out of its bounds.
    Value,
}

const TIME_UNSET: u64 = 1 << 63;

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
        instance.set_initial(&verified.program).map_err(|_| Misfit::Value)?;
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

    fn set_initial(&mut self, program: &Program<'_>) -> Checked<()> {
        self.words.fill(0);
        let mut reader = program.section(9);
        for _ in 0..reader.u8()? {
            let param = read_param(program, &mut reader)?;
            self.set_word(program, usize::from(param.slot), param.default);
        }
        let mut reader = program.section(10);
        for _ in 0..reader.u16()? {
            self.set_variable(program, &mut reader)?;
        }
        for index in 0..program.count(7) {
            let Some(timer) = program.timer(index) else {
                continue;
            };
            if TimerEntry::of(timer.kind).is_some_and(|entry| entry.has_span() && !entry.window()) {
                self.set_word(program, usize::from(timer.base), TIME_UNSET);
            }
        }
        Ok(())
    }

    fn set_variable<'a>(&mut self, program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
        let variable = read_variable(program, reader)?;
        let (mut slot, mut values) = (variable.base, variable.values_at);
        program.each_value(variable.type_at, &mut values, &mut |word| {
            self.set_word(program, slot, word);
            slot += 1;
        })
    }

    /// Set a slot to a word of its type; a text is a handle into the program.
    fn set_word(&mut self, program: &Program<'_>, slot: usize, word: u64) {
        let texts = Texts { program: program.bytes, own: &[], scratch: &[] };
        if let Some(found) = program.slot(slot) {
            let _ = self.set(program, slot, texts.value(found.value_type, word));
        }
    }

    /// Where the word of a parameter or state slot lies.
    fn place(&self, program: &Program<'_>, slot: usize) -> Option<usize> {
        let (params, base) = (usize::from(program.regions.params), program.regions.state_base());
        if slot < params {
            return Some(slot);
        }
        slot.checked_sub(base).filter(|_| slot < program.regions.state_end()).map(|index| params + index)
    }

    /// The value of a parameter or state slot.
    pub fn get<'t>(&'t self, program: &Program<'t>, slot: usize) -> Option<Value<'t>> {
        let word = self.words.get(self.place(program, slot)?)?;
        let texts = Texts { program: program.bytes, own: self.bytes, scratch: &[] };
        Some(texts.value(program.slot(slot)?.value_type, *word))
    }

    /// Set a parameter or state slot: for durable state after a restart, and for tests.
    ///
    /// # Errors
    /// [`Misfit::Index`] for another slot, [`Misfit::Value`] for a value that cannot stand there.
    pub fn set(&mut self, program: &Program<'_>, slot: usize, value: Value<'_>) -> Result<(), Misfit> {
        let place = self.place(program, slot).ok_or(Misfit::Index)?;
        let found = program.slot(slot).ok_or(Misfit::Index)?;
        let word = match value {
            _ if value.value_type() != found.value_type => return Err(Misfit::Value),
            Value::Bool(value) => u64::from(value),
            Value::Int(value) => value as u64,
            Value::Float(value) => canonical(value.to_bits()),
            Value::Text(text) => self.set_text(text, own_offset(program, slot), found)?,
        };
        if let Some(at) = self.words.get_mut(place) {
            *at = word;
        }
        Ok(())
    }

    fn set_text(&mut self, text: &[u8], offset: usize, slot: Slot) -> Result<u64, Misfit> {
        if text.len() > usize::from(slot.size_bytes_max) || !crate::text::is_utf8(text) {
            return Err(Misfit::Value);
        }
        let place = self.bytes.get_mut(offset..).ok_or(Misfit::Memory)?;
        place.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
        Ok(Handle::new(Space::Own, offset, text.len()).word())
    }

    /// Set a parameter by its index, checked against its bounds and its type.
    ///
    /// # Errors
    /// [`Misfit::Index`] for another parameter, [`Misfit::Value`] for a value that it does not take.
    pub fn set_param(&mut self, program: &Program<'_>, index: usize, value: Value<'_>) -> Result<(), Misfit> {
        let mut reader = program.section(9);
        let count = usize::from(reader.u8().unwrap_or(0));
        for _ in 0..index.min(count) {
            read_param(program, &mut reader).map_err(|_| Misfit::Index)?;
        }
        let param = read_param(program, &mut reader).map_err(|_| Misfit::Index)?;
        let right = match value {
            Value::Int(int) => param.scalar.takes(int) && param.takes(int as u64),
            Value::Float(float) => param.takes(float.to_bits()),
            _ => true,
        };
        if index >= count || !right {
            return Err(if right { Misfit::Index } else { Misfit::Value });
        }
        self.set(program, usize::from(param.slot), value)
    }
}

/// Where the text of a parameter or state slot lies in the text memory of its instance.
pub(crate) fn own_offset(program: &Program<'_>, slot: usize) -> usize {
    let (params, base) = (usize::from(program.regions.params), program.regions.state_base());
    if slot < base {
        return text_bytes(program, 0, slot.min(params));
    }
    text_bytes(program, 0, params) + text_bytes(program, base, slot)
}
