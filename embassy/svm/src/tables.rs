//! The sections of names: meta, parameters and pins, state, triggers, source map.

use crate::program::{Program, Trigger};
use crate::reader::{Reader, unique};
use crate::refusal::{Checked, Why};
use crate::structure::{PERIOD_US_MAX, need_state, read_trigger_head};
use crate::types::{Scalar, read_value};
use crate::value::ValueType;

const RULE_BYTES_MAX: usize = 63;
const PARAMS_MAX: u8 = 64;
const PINS_MAX: u8 = 32;
const TRIGGERS_MAX: u8 = 16;
const KEY_NONE: u8 = 255;
const LOW: u8 = 1;
const HIGH: u8 = 2;
const EVERY: u8 = 0;
const CRON: u8 = 1;

/// Section 1: rule, version, chip, description, source name.
pub(crate) fn check_meta(reader: &mut Reader<'_>) -> Checked<()> {
    let rule = reader.name()?;
    reader.need(is_rule_name(rule), Why::Name)?;
    reader.name()?;
    reader.name()?;
    reader.text()?;
    reader.name()?;
    Ok(())
}

fn is_rule_name(name: &[u8]) -> bool {
    let starts = name.first().is_some_and(u8::is_ascii_lowercase);
    let right = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    starts && name.len() <= RULE_BYTES_MAX && name.iter().all(right)
}

/// One parameter: where its type lies, what it holds, its slot and its default.
pub(crate) struct Param<'a> {
    pub name: &'a [u8],
    pub scalar: Scalar,
    pub slot: u16,
    pub default: u64,
    low: Option<u64>,
    high: Option<u64>,
}

impl Param<'_> {
    /// Whether a value of its type lies within its bounds.
    pub fn takes(&self, word: u64) -> bool {
        let above = |low: u64, high: u64| match self.scalar.slot.value_type {
            ValueType::Float => f64::from_bits(low) <= f64::from_bits(high),
            _ => low as i64 <= high as i64,
        };
        self.low.is_none_or(|low| above(low, word)) && self.high.is_none_or(|high| above(word, high))
    }
}

/// Read one parameter.
pub(crate) fn read_param<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<Param<'a>> {
    let name = reader.name()?;
    let scalar = program.types().scalar(reader)?;
    let slot = reader.u16()?;
    let default = read_value(reader, scalar)?;
    let flags = reader.below((LOW | HIGH) + 1, Why::Value)?;
    let low = if flags & LOW != 0 { Some(read_value(reader, scalar)?) } else { None };
    let high = if flags & HIGH != 0 { Some(read_value(reader, scalar)?) } else { None };
    Ok(Param { name, scalar, slot, default, low, high })
}

/// Section 9.
pub(crate) fn check_params<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
    let count = reader.below(PARAMS_MAX + 1, Why::TooMany)?;
    reader.need(u16::from(count) == program.regions.params, Why::Layout)?;
    let (start, mut filled) = (*reader, 0_u64);
    for _ in 0..count {
        let param = read_param(program, reader)?;
        let bit = 1_u64.checked_shl(u32::from(param.slot)).unwrap_or(0);
        reader.need(param.slot < u16::from(count) && filled & bit == 0, Why::Layout)?;
        filled |= bit;
        let fits = program.slots_are(usize::from(param.slot), 1, param.scalar.slot);
        reader.need(fits, Why::Layout)?;
        let bounds = param.low.is_some() || param.high.is_some();
        reader.need(!bounds || param.scalar.bounded && param.takes(param.default), Why::Bounds)?;
    }
    unique(start, usize::from(count), false, &|reader| Ok(read_param(program, reader)?.name))?;
    let pins = reader.below(PINS_MAX + 1, Why::TooMany)?;
    let start = *reader;
    for _ in 0..pins {
        reader.name()?;
        reader.below(2, Why::Unknown)?;
    }
    unique(start, usize::from(pins), false, &|reader| {
        let name = reader.name()?;
        reader.u8()?;
        Ok(name)
    })
}

/// A reader at the pins, behind the parameters.
pub(crate) fn at_pins<'a>(program: &Program<'a>) -> Option<Reader<'a>> {
    let mut reader = program.section(9);
    for _ in 0..reader.u8().ok()? {
        read_param(program, &mut reader).ok()?;
    }
    Some(reader)
}

/// Number of pins.
pub(crate) fn pins(program: &Program<'_>) -> u8 {
    at_pins(program).and_then(|mut reader| reader.u8().ok()).unwrap_or(0)
}

/// One state variable: its name, where its type lies, its first slot and how many slots it has.
pub(crate) struct Variable<'a> {
    pub name: &'a [u8],
    pub type_at: Reader<'a>,
    pub base: usize,
    pub size: usize,
    pub values_at: Reader<'a>,
}

/// Read one state variable.
pub(crate) fn read_variable<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<Variable<'a>> {
    let name = reader.name()?;
    let type_at = *reader;
    let size = program.types().read(reader)?.size as usize;
    let base = usize::from(reader.u16()?);
    let values_at = *reader;
    program.read_values(type_at, reader)?;
    Ok(Variable { name, type_at, base, size, values_at })
}

/// Section 10: variables lie in the state region, none over another or over a timer; nor timers over each other.
pub(crate) fn check_state<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
    let count = reader.u16()?;
    reader.need(count <= program.regions.state, Why::TooMany)?;
    let start = *reader;
    for index in 0..count {
        let variable = read_variable(program, reader)?;
        need_state(program, variable.base, variable.size, reader)?;
        let end = flat_end(program, variable.type_at, variable.base)?;
        reader.need(end.is_some() && !variable.name.is_empty(), Why::Layout)?;
        let mut rest = start;
        for _ in 0..index {
            let other = read_variable(program, &mut rest)?;
            reader.need(other.name != variable.name, Why::Name)?;
            reader.need(apart(variable.base, variable.size, other.base, other.size), Why::Layout)?;
        }
        check_timers(program, variable.base, variable.size, 0, reader)?;
    }
    for index in 0..program.count(7) {
        if let Some(timer) = program.timer(index) {
            check_timers(program, usize::from(timer.base), timer.size(), index + 1, reader)?;
        }
    }
    Ok(())
}

/// Refuse slots that lie over those of a timer from `first` on.
fn check_timers(program: &Program<'_>, base: usize, size: usize, first: u16, reader: &Reader<'_>) -> Checked<()> {
    for index in first..program.count(7) {
        let over = program.timer(index).is_some_and(|timer| !apart(base, size, usize::from(timer.base), timer.size()));
        reader.need(!over, Why::Layout)?;
    }
    Ok(())
}

const fn apart(base: usize, size: usize, other: usize, other_size: usize) -> bool {
    base + size <= other || other + other_size <= base
}

/// Where the slots of the type at `start` end, when they lie from `base` on and are of its types.
fn flat_end(program: &Program<'_>, mut start: Reader<'_>, base: usize) -> Checked<Option<usize>> {
    let (mut end, mut right) = (base, true);
    program.types().flatten(&mut start, &mut |scalar, count| {
        right &= program.slots_are(end, usize::from(count), scalar.slot);
        end += usize::from(count);
        Ok(())
    })?;
    Ok(if right { Some(end) } else { None })
}

/// Section 11: handlers fill the code and inputs fill their region, both in the order of the triggers.
pub(crate) fn check_triggers<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
    let count = reader.below(TRIGGERS_MAX + 1, Why::TooMany)?;
    reader.need(count > 0, Why::TooMany)?;
    let (mut entry, mut inputs) = (0, usize::from(program.regions.params));
    for _ in 0..count {
        let trigger = read_trigger_head(reader)?;
        reader.need(trigger.entry == entry && entry < trigger.end, Why::Trigger)?;
        reader.need(usize::from(trigger.input_base) == inputs && is_kind(&trigger), Why::Trigger)?;
        entry = trigger.end;
        inputs = check_fields(program, &trigger, inputs, reader)?;
    }
    let filled = usize::from(entry) * 4 == program.code.len() && inputs == program.regions.state_base();
    reader.need(filled, Why::Trigger)
}

fn is_kind(trigger: &Trigger<'_>) -> bool {
    let bare = trigger.source.is_empty() && trigger.fields == 0;
    let right = match trigger.kind {
        EVERY => bare && trigger.period_us > 0 && trigger.address.is_empty(),
        CRON => bare && trigger.period_us == 0 && !trigger.address.is_empty(),
        _ => !trigger.source.is_empty(),
    };
    right && trigger.period_us <= PERIOD_US_MAX && trigger.fields != KEY_NONE
}

/// Check the payload of a trigger and return where its inputs end.
fn check_fields<'a>(
    program: &Program<'a>,
    trigger: &Trigger<'a>,
    first: usize,
    reader: &mut Reader<'a>,
) -> Checked<usize> {
    let (start, mut slot) = (*reader, first);
    let mut key = trigger.key == KEY_NONE;
    for index in 0..trigger.fields {
        let field = read_field(program, reader)?;
        key |= index == trigger.key && field.scalar;
        slot = flat_end(program, field.type_at, slot)?.unwrap_or(usize::MAX);
        reader.need(slot <= program.regions.state_base(), Why::Trigger)?;
    }
    unique(start, usize::from(trigger.fields), false, &|reader| Ok(read_field(program, reader)?.name))?;
    reader.need(key, Why::Trigger)?;
    Ok(slot)
}

/// One field of a payload.
struct Field<'a> {
    name: &'a [u8],
    type_at: Reader<'a>,
    scalar: bool,
}

/// Read one field, its default included.
fn read_field<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<Field<'a>> {
    let name = reader.name()?;
    let type_at = *reader;
    let scalar = program.types().read(reader)?.scalar.is_some();
    if reader.flag()? {
        program.read_values(type_at, reader)?;
    }
    Ok(Field { name, type_at, scalar })
}

/// Skip so many fields.
pub(crate) fn skip_fields<'a>(program: &Program<'a>, reader: &mut Reader<'a>, count: u8) -> Checked<()> {
    for _ in 0..count {
        read_field(program, reader)?;
    }
    Ok(())
}

/// Section 12.
pub(crate) fn check_source_map(program: &Program<'_>, reader: &mut Reader<'_>) -> Checked<()> {
    let mut least = 0;
    for _ in 0..reader.u16()? {
        let pc = usize::from(reader.u16()?);
        reader.need(pc >= least && pc * 4 < program.code.len(), Why::SourceMap)?;
        least = pc + 1;
        let (line, column) = (reader.u16()?, reader.u16()?);
        reader.need(line > 0 && column > 0, Why::SourceMap)?;
    }
    Ok(())
}
