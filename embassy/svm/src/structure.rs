//! Everything about a program that is checked without looking at its code, section by section: docs/svm.md, Verification.

use crate::container::{Signed, read_section};
use crate::program::{ABORT, FALLBACK, Program, SKIP, Site, SiteKind, Timer};
use crate::reader::Reader;
use crate::refusal::{Checked, Why};
use crate::table::TimerEntry;
use crate::tables;
use crate::types::{Scalar, Slot, text_bytes_max};
use crate::value::{Handle, ValueType};

const SLOTS_MAX: [usize; 2] = [4_096, 512];
/// Size of the entry of a constant.
pub(crate) const CONSTANT_BYTES: usize = 9;
const COUNTS_BYTES: usize = 16;
const CONSTANTS_MAX: u16 = 1_024;
const ARRAYS_MAX: u16 = 256;
const TIMERS_MAX: u16 = 256;
const SITES_MAX: u16 = 256;
const ARGS_MAX: u8 = 32;
/// Longest duration of a site or a trigger.
pub(crate) const PERIOD_US_MAX: u64 = 1 << 62;

type Check<'a> = fn(&mut Program<'a>, &mut Reader<'a>);

/// Check the sections, each with the help of those before it, and set the program's fields.
pub(crate) fn read_sections<'a>(program: &mut Program<'a>, signed: &Signed<'a>) -> Checked<()> {
    let checks: [Check<'a>; crate::container::SECTIONS] = [
        tables::check_meta as Check<'a>,
        check_limits as Check<'a>,
        read_slots as Check<'a>,
        read_code as Check<'a>,
        check_constants as Check<'a>,
        check_arrays as Check<'a>,
        check_timers as Check<'a>,
        check_sites as Check<'a>,
        tables::check_params as Check<'a>,
        tables::check_state as Check<'a>,
        tables::check_triggers as Check<'a>,
        tables::check_source_map as Check<'a>,
    ];
    let mut reader = signed.sections();
    for (id, check) in (1..).zip(checks) {
        let mut section = read_section(&mut reader, signed.signed_bytes, id);
        program.set_section(id, section.position);
        check(program, &mut section);
        section.finish();
        section.result()?;
    }
    reader.finish();
    reader.result()
}

/// Read a u16 count within its limit.
fn count(reader: &mut Reader<'_>, most: u16) -> u16 {
    let count = reader.u16();
    reader.need(count <= most, Why::TooMany);
    if reader.is_right() { count } else { 0 }
}

fn check_limits<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    program.fuel_max = reader.small(4);
    let zero = reader.small(4) >> 24;
    reader.need(zero == 0, Why::Padding);
    reader.take(COUNTS_BYTES);
}

fn read_slots<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    program.regions.params = reader.u16();
    program.regions.inputs = reader.u16();
    program.regions.state = reader.u16();
    program.regions.locals = reader.u16();
    let total = program.regions.total();
    let most = SLOTS_MAX.get(usize::from(program.profile)).copied().unwrap_or(0);
    reader.need(total <= most, Why::TooMany);
    let (mut found, mut before) = (0, None);
    for _ in 0..reader.u16() {
        let (count, slot) = read_run(reader);
        let text = slot.value_type == ValueType::Text;
        let limits = if text { 1..=text_bytes_max(program.profile) } else { 0..=0 };
        program.has_text |= text;
        found += usize::from(count);
        let right = count > 0 && found <= total && before != Some(slot) && limits.contains(&slot.size_bytes_max);
        reader.need(right, Why::Layout);
        if !right {
            return;
        }
        before = Some(slot);
    }
    reader.need(found == total, Why::Layout);
}

/// Read a run of equal slots: how many, and what.
#[inline(never)]
pub(crate) fn read_run(reader: &mut Reader<'_>) -> (u16, Slot) {
    let (count, size_bytes_max) = (reader.u16(), reader.u16());
    let value_type = ValueType::of(reader.below(4, Why::Unknown));
    reader.zeros(1);
    (count, Slot { value_type, size_bytes_max })
}

fn read_code<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    let count = reader.u16();
    reader.need(count > 0, Why::TooMany);
    reader.zeros(2);
    program.code = reader.take(usize::from(count) * 4).as_chunks().0;
}

fn check_constants<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    let count = count(reader, CONSTANTS_MAX);
    let mut offset = 0;
    for _ in 0..count {
        let value_type = ValueType::of(reader.below(4, Why::Unknown));
        reader.need(value_type != ValueType::Bool, Why::Value);
        if value_type == ValueType::Text {
            let (start, size) = (reader.small(4), reader.u16());
            reader.need(start == offset && size <= text_bytes_max(program.profile), Why::Text);
            offset += u32::from(size);
            reader.zeros(2);
        } else {
            reader.value(Scalar::of(Slot::of(value_type)));
        }
    }
    for index in 0..count {
        let (value_type, word) = (program.constant_type(usize::from(index)), program.constant(usize::from(index)));
        let size = if value_type == ValueType::Text { Handle::from_word(word).size } else { 0 };
        reader.utf8(usize::from(size));
        if !reader.is_right() {
            return;
        }
        let same = (0..index).any(|other| same_constant(program, index, other));
        reader.need(!same, Why::Value);
    }
}

/// Whether two constants have the same type and bits.
fn same_constant(program: &Program<'_>, one: u16, other: u16) -> bool {
    let (one, other) = (usize::from(one), usize::from(other));
    let value_type = program.constant_type(one);
    if value_type != program.constant_type(other) {
        return false;
    }
    let (word, other_word) = (program.constant(one), program.constant(other));
    match value_type {
        ValueType::Text => program.text(Handle::from_word(word)) == program.text(Handle::from_word(other_word)),
        _ => word == other_word,
    }
}

fn check_arrays<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    for index in 0..count(reader, ARRAYS_MAX) {
        reader.take(6);
        let array = program.array(index);
        let (base, length_slot) = (usize::from(array.base), usize::from(array.length_slot));
        let end = base + usize::from(array.capacity);
        let exists = array.capacity > 0 && end.max(length_slot + 1) <= program.regions.total();
        let region = region_of(program, base);
        let right = exists
            && region == region_of(program, end - 1)
            && region == region_of(program, length_slot)
            && !(base..end).contains(&length_slot)
            && program.slot_at(length_slot).value_type == ValueType::Int
            && program.slots_are(base, end - base, program.slot_at(base));
        reader.need(right, Why::Layout);
    }
}

/// The region of a slot: 0 params, 1 inputs, 2 state, 3 locals.
fn region_of(program: &Program<'_>, slot: usize) -> u8 {
    let regions = &program.regions;
    let ends = [usize::from(regions.params), regions.state_base(), regions.state_end()];
    ends.iter().map(|end| u8::from(slot >= *end)).sum()
}

fn check_timers<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) {
    for index in 0..count(reader, TIMERS_MAX) {
        let kind = reader.small(2);
        reader.take(4);
        reader.need(kind < 256, Why::Padding);
        let timer = program.timer(index);
        let entry = TimerEntry::of(timer.kind);
        reader.need(entry.is_known() && entry.window() == (timer.capacity > 0), Why::Layout);
        let (base, capacity) = (usize::from(timer.base), usize::from(timer.capacity));
        need_state(program, base, timer.size(), reader);
        let ints = timer.size() - capacity;
        let head = if entry.has_span() { ValueType::Int } else { ValueType::Bool };
        let right = program.slots_are(base, ints, Slot::of(head))
            && program.slots_are(base + ints, capacity, Slot::of(ValueType::Float));
        reader.need(right, Why::Layout);
    }
}

/// Refuse what lies outside of the state region.
pub(crate) fn need_state(program: &Program<'_>, base: usize, size: usize, reader: &mut Reader<'_>) {
    let regions = &program.regions;
    reader.need(regions.state_base() <= base && base + size <= regions.state_end(), Why::Layout);
}

impl Timer {
    /// How many slots it has.
    pub fn size(&self) -> usize {
        match self.capacity {
            0 => 1,
            capacity => 2 + 2 * usize::from(capacity),
        }
    }
}

/// Read a site up to the types of its arguments; `rest` stands there.
#[inline(never)]
pub(crate) fn read_site<'a>(reader: &mut Reader<'a>) -> Site<'a> {
    let kind = SiteKind::of(reader.below(4, Why::Unknown));
    let on_failure = reader.below(FALLBACK + 1, Why::Unknown);
    let retries = reader.u8();
    let level = reader.flag();
    let cost = reader.u16();
    let args = reader.u8();
    let has_result = reader.flag();
    Site { kind, on_failure, retries, level, cost, args, has_result, rest: *reader }
}

fn check_sites<'a>(_: &mut Program<'a>, reader: &mut Reader<'a>) {
    let count = count(reader, SITES_MAX);
    let mut starts = *reader;
    reader.take(4 * usize::from(count));
    let first = reader.position;
    for _ in 0..count {
        let start = starts.small(4) as usize;
        reader.need(reader.position.wrapping_sub(first) == start, Why::Order);
        check_site(reader);
    }
}

fn check_site(reader: &mut Reader<'_>) {
    let site = read_site(reader);
    reader.need(site.args <= ARGS_MAX, Why::TooMany);
    for _ in 0..site.types() {
        reader.scalar();
    }
    let duration = reader.number(8).max(reader.number(8));
    let named = !reader.name().is_empty();
    reader.name();
    reader.unique(site.args, 1, &|reader| {
        reader.name();
    });
    let asks = matches!(site.kind, SiteKind::Read | SiteKind::Llm);
    let answers = asks || site.on_failure == ABORT || site.on_failure == SKIP;
    reader.need(named && asks == site.has_result && answers && duration <= PERIOD_US_MAX, Why::Site);
}
