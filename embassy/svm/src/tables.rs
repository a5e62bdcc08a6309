//! The sections of names: meta, parameters and pins, state, triggers, source map.

use crate::numbers::{GREATER, LESS, order_float, order_int};
use crate::program::{HEAD_BYTES, Handler, Program};
use crate::reader::Reader;
use crate::refusal::{Fault, Why, need};
use crate::structure::{PERIOD_US_MAX, count};
use crate::table::TimerEntry;
use crate::types::{Scalar, Shape, Slot};
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
const SOURCE: u8 = 2;

/// Section 1: rule, version, chip, description, source name.
pub(crate) fn check_meta<'a>(_: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let rule = reader.name();
    let right = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let starts = rule.first().is_some_and(u8::is_ascii_lowercase);
    need(starts && rule.len() <= RULE_BYTES_MAX && rule.iter().all(right), Why::Name)?;
    reader.name();
    reader.name();
    reader.text();
    reader.name();
    Ok(())
}

/// One parameter: what it holds, its default and its bounds.
pub(crate) struct Param {
    pub scalar: Scalar,
    pub default: u64,
    flags: u8,
    low: u64,
    high: u64,
}

impl Param {
    /// Whether a value of its type lies within its bounds.
    #[inline(never)]
    pub fn takes(&self, word: u64) -> bool {
        let float = self.scalar.value_type == ValueType::Float;
        let within = |flag: u8, bound: u64, wrong: u8| {
            let order = if float { order_float(bound, word) } else { order_int(bound as i64, word as i64) };
            self.flags & flag == 0 || order != 0 && order != wrong
        };
        within(LOW, self.low, GREATER) && within(HIGH, self.high, LESS)
    }
}

/// Read one parameter, behind its name.
#[inline(never)]
pub(crate) fn read_param(reader: &mut Reader<'_>) -> Param {
    let scalar = reader.scalar();
    let default = reader.value(scalar);
    let flags = reader.below((LOW | HIGH) + 1, Why::Value);
    let mut bound = |flag| if flags & flag != 0 { reader.value(scalar) } else { 0 };
    Param { scalar, default, flags, low: bound(LOW), high: bound(HIGH) }
}

/// Section 9: parameter i has slot i.
pub(crate) fn check_params<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let count = reader.below(PARAMS_MAX + 1, Why::TooMany);
    reader.names(u16::from(count), 1);
    need(u16::from(count) == program.regions.params, Why::Layout)?;
    for slot in 0..count {
        let param = read_param(reader);
        need(program.slot_at(usize::from(slot)) == param.scalar.slot(), Why::Layout)?;
        need(param.flags == 0 || param.scalar.is_bounded() && param.takes(param.default), Why::Bounds)?;
    }
    program.pins = reader.below(PINS_MAX + 1, Why::TooMany);
    reader.names(u16::from(program.pins), 1);
    for _ in 0..program.pins {
        reader.flag();
    }
    Ok(())
}

/// Section 10: the variables, and behind them the timers, fill the state region in order.
pub(crate) fn check_state<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let mut base = program.regions.state_base();
    let count = count(reader, program.regions.state);
    reader.names(count, 1);
    for _ in 0..count {
        let type_at = *reader;
        read_placed(program, reader, &mut base)?;
        reader.values(type_at, &mut |_| ());
    }
    for index in 0..program.count(7) {
        let timer = program.timer(index);
        let entry = TimerEntry::of(timer.kind);
        let capacity = usize::from(timer.capacity);
        need(entry.is_known() && entry.window() == (capacity > 0) && usize::from(timer.base) == base, Why::Layout)?;
        let head = if entry.has_span() { ValueType::Int } else { ValueType::Bool };
        let ints = timer.size() - capacity;
        let right = program.slots_are(base, ints, Slot::of(head))
            && program.slots_are(base + ints, capacity, Slot::of(ValueType::Float));
        need(right, Why::Layout)?;
        base += timer.size();
    }
    need(base == program.regions.state_end(), Why::Layout)
}

/// Read a type whose slots must lie from `base` on, in the order of its scalars, and move `base` behind them.
#[inline(never)]
fn read_placed(program: &Program<'_>, reader: &mut Reader<'_>, base: &mut usize) -> Result<Shape, Why> {
    let (mut end, mut right) = (*base, true);
    let flat = reader.flatten(&mut |scalar, count| {
        right &= program.slots_are(end, usize::from(count), scalar.slot());
        end += usize::from(count);
    });
    *base = end;
    need(right, Why::Layout)?;
    Ok(flat.shape)
}

/// Section 11: handlers fill the code and payloads fill the inputs, both in the order of the triggers.
pub(crate) fn check_triggers<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let count = reader.below(TRIGGERS_MAX + 1, Why::TooMany);
    need(count > 0, Why::TooMany)?;
    program.triggers = count;
    reader.take(HEAD_BYTES * usize::from(count));
    let (mut end, mut input_end) = (0, program.regions.params);
    for index in 0..count {
        let handler = program.handler_at(usize::from(index));
        check_trigger(program, &handler, reader)?;
        (end, input_end) = (handler.end, handler.input_end);
    }
    let filled = usize::from(end) == program.code.len() && usize::from(input_end) == program.regions.state_base();
    need(filled, Why::Trigger)
}

/// Read and check one trigger, behind its head.
#[inline(never)]
pub(crate) fn check_trigger(program: &Program<'_>, handler: &Handler, reader: &mut Reader<'_>) -> Fault {
    let period_us = reader.number(8);
    let (source, address) = (reader.name().is_empty(), reader.text().is_empty());
    reader.name();
    let fields = reader.u8();
    reader.names(u16::from(fields), 1);
    let right = match handler.kind {
        EVERY => source && fields == 0 && period_us > 0 && address,
        CRON => source && fields == 0 && period_us == 0 && !address,
        SOURCE => !source,
        _ => false,
    };
    need(right && period_us <= PERIOD_US_MAX && fields != KEY_NONE && handler.entry < handler.end, Why::Trigger)?;
    let (mut slot, mut keyed) = (usize::from(handler.input_base), handler.key == KEY_NONE);
    for index in 0..fields {
        let type_at = *reader;
        let shape = read_placed(program, reader, &mut slot)?;
        keyed |= index == handler.key && shape == Shape::Scalar;
        if reader.flag() {
            reader.values(type_at, &mut |_| ());
        }
    }
    need(keyed && slot == usize::from(handler.input_end), Why::Trigger)
}

/// Section 12.
pub(crate) fn check_source_map<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let mut least = 0;
    for _ in 0..reader.u16() {
        let (pc, line, column) = (usize::from(reader.u16()), reader.u16(), reader.u16());
        need(pc >= least && pc < program.code.len() && line > 0 && column > 0, Why::SourceMap)?;
        least = pc + 1;
    }
    Ok(())
}
