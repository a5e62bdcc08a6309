//! The sections of names: meta, parameters and pins, state, triggers, source map.

use crate::numbers::{GREATER, order_float, order_int};
use crate::program::{Handler, Program};
use crate::reader::Reader;
use crate::refusal::Why;
use crate::structure::{PERIOD_US_MAX, need_state};
use crate::types::{Scalar, Shape};
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
pub(crate) fn check_meta<'a>(_: &mut Program<'a>, reader: &mut Reader<'a>) {
    let rule = reader.name();
    let right = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let starts = rule.first().is_some_and(u8::is_ascii_lowercase);
    reader.need(starts && rule.len() <= RULE_BYTES_MAX && rule.iter().all(right), Why::Name);
    reader.name();
    reader.name();
    reader.text();
    reader.name();
}

/// One parameter: what it holds, its slot, its default and its bounds.
pub(crate) struct Param {
    pub scalar: Scalar,
    pub slot: u16,
    pub default: u64,
    low: Option<u64>,
    high: Option<u64>,
}

impl Param {
    /// Whether a value of its type lies within its bounds.
    pub fn takes(&self, word: u64) -> bool {
        let float = self.scalar.value_type == ValueType::Float;
        let within = |low: u64, high: u64| {
            let order = if float { order_float(low, high) } else { order_int(low as i64, high as i64) };
            order != 0 && order != GREATER
        };
        self.low.is_none_or(|low| within(low, word)) && self.high.is_none_or(|high| within(word, high))
    }

    const fn has_bounds(&self) -> bool {
        self.low.is_some() || self.high.is_some()
    }
}

/// Read one parameter.
#[inline(never)]
pub(crate) fn read_param(reader: &mut Reader<'_>) -> Param {
    reader.name();
    let scalar = reader.scalar();
    let slot = reader.u16();
    let default = reader.value(scalar);
    let flags = reader.below((LOW | HIGH) + 1, Why::Value);
    let mut bound = |flag| if flags & flag != 0 { Some(reader.value(scalar)) } else { None };
    Param { scalar, slot, default, low: bound(LOW), high: bound(HIGH) }
}

/// Section 9.
pub(crate) fn check_params<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    let count = reader.below(PARAMS_MAX + 1, Why::TooMany);
    reader.need(u16::from(count) == program.regions.params, Why::Layout);
    let (mut names, mut filled) = (*reader, 0_u64);
    for _ in 0..count {
        let param = read_param(reader);
        let bit = 1_u64.checked_shl(u32::from(param.slot)).unwrap_or(0);
        let right = param.slot < u16::from(count)
            && filled & bit == 0
            && program.slot_at(usize::from(param.slot)) == param.scalar.slot();
        reader.need(right, Why::Layout);
        filled |= bit;
        reader.need(!param.has_bounds() || param.scalar.is_bounded() && param.takes(param.default), Why::Bounds);
    }
    if reader.is_right() {
        names.unique(count, 1, &|reader| {
            read_param(reader);
        });
        reader.follow(&names);
    }
    let pins = reader.below(PINS_MAX + 1, Why::TooMany);
    reader.unique(pins, 1, &|reader| {
        reader.name();
        reader.below(2, Why::Unknown);
    });
    program.pins = pins;
}

/// One state variable: where its type and values lie, its first slot and how many slots it has.
pub(crate) struct Variable<'a> {
    pub type_at: Reader<'a>,
    pub base: usize,
    pub size: usize,
    pub values_at: Reader<'a>,
}

/// Read one state variable and return it with its name.
#[inline(never)]
pub(crate) fn read_variable<'a>(reader: &mut Reader<'a>) -> (Variable<'a>, &'a [u8]) {
    let name = reader.name();
    let type_at = *reader;
    let size = reader.skip_type().size as usize;
    let base = usize::from(reader.u16());
    let values_at = *reader;
    reader.values(type_at, &mut |_| ());
    (Variable { type_at, base, size, values_at }, name)
}

/// Section 10: variables lie in the state region, none over another or over a timer; nor timers over each other.
pub(crate) fn check_state<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    let count = reader.u16();
    reader.need(count <= program.regions.state, Why::TooMany);
    let start = *reader;
    for index in 0..count {
        let (variable, name) = read_variable(reader);
        if !reader.is_right() {
            return;
        }
        need_state(program, variable.base, variable.size, reader);
        let end = flat_end(program, variable.type_at, variable.base);
        reader.need(end.is_some() && !name.is_empty(), Why::Layout);
        let mut rest = start;
        for _ in 0..index {
            let (other, other_name) = read_variable(&mut rest);
            reader.need(other_name != name, Why::Name);
            reader.need(apart(variable.base, variable.size, other.base, other.size), Why::Layout);
        }
        need_apart(program, variable.base, variable.size, 0, reader);
    }
    for index in 0..program.count(7) {
        let timer = program.timer(index);
        need_apart(program, usize::from(timer.base), timer.size(), index + 1, reader);
    }
}

/// Refuse slots that lie over those of a timer from `first` on.
fn need_apart(program: &Program<'_>, base: usize, size: usize, first: u16, reader: &mut Reader<'_>) {
    for index in first..program.count(7) {
        let timer = program.timer(index);
        reader.need(apart(base, size, usize::from(timer.base), timer.size()), Why::Layout);
    }
}

const fn apart(base: usize, size: usize, other: usize, other_size: usize) -> bool {
    base + size <= other || other + other_size <= base
}

/// Where the slots of the type at `type_at` end, when they lie from `base` on and are of its types.
#[inline(never)]
fn flat_end(program: &Program<'_>, mut type_at: Reader<'_>, base: usize) -> Option<usize> {
    let (mut end, mut right) = (base, true);
    type_at.flatten(&mut |scalar, count| {
        right &= program.slots_are(end, usize::from(count), scalar.slot());
        end += usize::from(count);
    });
    if right { Some(end) } else { None }
}

/// Section 11: handlers fill the code and inputs fill their region, both in the order of the triggers.
pub(crate) fn check_triggers<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    let count = reader.below(TRIGGERS_MAX + 1, Why::TooMany);
    reader.need(count > 0, Why::TooMany);
    program.triggers = count;
    let (mut entry, mut inputs) = (0, program.regions.params);
    for _ in 0..count {
        let handler = read_trigger(program, reader);
        let right = handler.entry == entry && entry < handler.end && handler.input_base == inputs;
        reader.need(right, Why::Trigger);
        (entry, inputs) = (handler.end, handler.input_end);
    }
    let filled = usize::from(entry) == program.code.len() && usize::from(inputs) == program.regions.state_base();
    reader.need(filled, Why::Trigger);
}

/// Read and check one trigger.
#[inline(never)]
pub(crate) fn read_trigger<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Handler {
    let kind = reader.below(3, Why::Unknown);
    let key = reader.u8();
    let (input_base, entry, end) = (reader.u16(), reader.u16(), reader.u16());
    let period_us = reader.number(8);
    let (source, address) = (reader.name().is_empty(), reader.text().is_empty());
    reader.name();
    let fields = reader.u8();
    let right = match kind {
        EVERY => source && fields == 0 && period_us > 0 && address,
        CRON => source && fields == 0 && period_us == 0 && !address,
        _ => !source,
    };
    reader.need(right && period_us <= PERIOD_US_MAX && fields != KEY_NONE, Why::Trigger);
    let (mut names, mut slot, mut keyed) = (*reader, usize::from(input_base), key == KEY_NONE);
    for index in 0..fields {
        reader.name();
        let type_at = *reader;
        let shape = read_default(reader);
        if !reader.is_right() {
            break;
        }
        keyed |= index == key && shape == Shape::Scalar;
        slot = flat_end(program, type_at, slot).unwrap_or(usize::MAX);
        reader.need(slot <= program.regions.state_base(), Why::Trigger);
    }
    if reader.is_right() && reader.strict {
        names.unique(fields, 1, &|reader| {
            reader.name();
            read_default(reader);
        });
        reader.follow(&names);
    }
    reader.need(keyed, Why::Trigger);
    Handler { entry, end, input_base, input_end: slot as u16 }
}

/// Read the type of a field and its default.
#[inline(never)]
fn read_default(reader: &mut Reader<'_>) -> Shape {
    let type_at = *reader;
    let shape = reader.skip_type().shape;
    if reader.flag() {
        reader.values(type_at, &mut |_| ());
    }
    shape
}

/// Section 12.
pub(crate) fn check_source_map<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    let mut least = 0;
    for _ in 0..reader.u16() {
        let (pc, line, column) = (usize::from(reader.u16()), reader.u16(), reader.u16());
        let right = pc >= least && pc < program.code.len() && line > 0 && column > 0;
        reader.need(right, Why::SourceMap);
        least = pc + 1;
    }
}
