//! Everything about a program that is checked without looking at its code, section by section: docs/svm.md, Verification.

use crate::container::{Signed, read_section};
use crate::program::Program;
use crate::reader::Reader;
use crate::refusal::{Checked, Fault, Refusal, Why, need};
use crate::site::{ABORT, FALLBACK, SKIP, SiteKind};
use crate::tables;
use crate::types::{Scalar, Slot, text_bytes_max};
use crate::value::ValueType;

const SLOTS_MAX: [usize; 2] = [4_096, 512];
/// Size of the entry of a constant.
pub(crate) const CONSTANT_BYTES: usize = 9;
/// Size of the entry of an array or a timer.
pub(crate) const ENTRY_BYTES: usize = 6;
/// Size of what a site starts with.
pub(crate) const SITE_BYTES: usize = 8;
const COUNTS_BYTES: usize = 16;
const CONSTANTS_MAX: u16 = 1_024;
const ARRAYS_MAX: u16 = 256;
const TIMERS_MAX: u16 = 256;
const SITES_MAX: u16 = 256;
const ARGS_MAX: u8 = 32;
/// Longest duration of a site or a trigger.
pub(crate) const PERIOD_US_MAX: u64 = 1 << 62;

type Check<'a> = fn(&mut Program<'a>, &mut Reader<'a>) -> Fault;

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
        let checked = check(program, &mut section);
        section.finish();
        section.result()?;
        checked.map_err(|why| Refusal::new(why, section.position))?;
    }
    reader.finish();
    reader.result()
}

/// Read a u16 count within its limit.
#[inline(never)]
pub(crate) fn count(reader: &mut Reader<'_>, most: u16) -> u16 {
    let count = reader.u16();
    reader.need(count <= most, Why::TooMany);
    if reader.is_right() { count } else { 0 }
}

fn check_limits<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    program.fuel_max = reader.small(4);
    let zero = reader.small(4) >> 24;
    reader.take(COUNTS_BYTES);
    need(zero == 0, Why::Padding)
}

fn read_slots<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    program.regions.params = reader.u16();
    program.regions.inputs = reader.u16();
    program.regions.state = reader.u16();
    program.regions.locals = reader.u16();
    let total = program.regions.total();
    let most = SLOTS_MAX.get(usize::from(program.profile)).copied().unwrap_or(0);
    need(total <= most, Why::TooMany)?;
    let (mut found, mut before) = (0, None);
    for _ in 0..reader.u16() {
        let (count, slot) = read_run(reader);
        let text = slot.value_type == ValueType::Text;
        let limits = if text { 1..=text_bytes_max(program.profile) } else { 0..=0 };
        program.has_text |= text;
        found += usize::from(count);
        let right = count > 0 && found <= total && before != Some(slot) && limits.contains(&slot.size_bytes_max);
        need(right, Why::Layout)?;
        before = Some(slot);
    }
    need(found == total, Why::Layout)
}

/// Read a run of equal slots: how many, and what.
#[inline(never)]
pub(crate) fn read_run(reader: &mut Reader<'_>) -> (u16, Slot) {
    let (count, size_bytes_max) = (reader.u16(), reader.u16());
    let value_type = ValueType::of(reader.below(4, Why::Unknown));
    reader.zeros(1);
    (count, Slot { value_type, size_bytes_max })
}

fn read_code<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let count = reader.u16();
    reader.zeros(2);
    program.code = reader.take(usize::from(count) * 4).as_chunks().0;
    need(count > 0, Why::TooMany)
}

fn check_constants<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let count = count(reader, CONSTANTS_MAX);
    let mut offset = 0;
    for _ in 0..count {
        let value_type = ValueType::of(reader.below(4, Why::Unknown));
        need(value_type != ValueType::Bool, Why::Value)?;
        if value_type == ValueType::Text {
            let (start, size) = (reader.small(4), reader.u16());
            reader.zeros(2);
            need(start == offset && size <= text_bytes_max(program.profile), Why::Text)?;
            offset += u32::from(size);
        } else {
            reader.value(Scalar::of(Slot::of(value_type)));
        }
    }
    reader.position += offset as usize;
    need(reader.is_right(), Why::Truncated)?;
    for index in 0..usize::from(count) {
        let (value_type, bytes) = program.content(index);
        need(value_type != ValueType::Text || crate::text::is_utf8(bytes), Why::Text)?;
        let same = (0..index).any(|other| program.content(other) == (value_type, bytes));
        need(!same, Why::Value)?;
    }
    Ok(())
}

fn check_arrays<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    for index in 0..count(reader, ARRAYS_MAX) {
        reader.take(ENTRY_BYTES);
        let array = program.array(index);
        let (base, length_slot) = (usize::from(array.base), usize::from(array.length_slot));
        let end = base + usize::from(array.capacity);
        let (first, last) = (base.min(length_slot), end.max(length_slot + 1));
        let right = base < end
            && last <= program.regions.total()
            && program.regions.of(first) == program.regions.of(last - 1)
            && (length_slot < base || end <= length_slot)
            && program.slots_are(length_slot, 1, Slot::of(ValueType::Int))
            && program.slots_are(base, end - base, program.slot_at(base));
        need(right, Why::Layout)?;
    }
    Ok(())
}

/// Read past the timers: what they must be shows when the state is placed.
fn check_timers<'a>(_: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let count = count(reader, TIMERS_MAX);
    reader.take(ENTRY_BYTES * usize::from(count));
    Ok(())
}

fn check_sites<'a>(program: &mut Program<'a>, reader: &mut Reader<'a>) -> Fault {
    let count = count(reader, SITES_MAX);
    reader.take(4 * usize::from(count));
    for index in 0..count {
        need(reader.position == program.site_position(index), Why::Order)?;
        check_site(program, reader)?;
    }
    Ok(())
}

fn check_site(program: &Program<'_>, reader: &mut Reader<'_>) -> Fault {
    let [kind, on_failure, _, flags, _, _, args, has_result] = *program.piece(reader.position);
    reader.take(SITE_BYTES);
    let known = kind < 4 && on_failure <= FALLBACK && flags < 2 && args <= ARGS_MAX && has_result < 2;
    need(known, Why::Unknown)?;
    let tags = reader.take(usize::from(args));
    let named = !reader.name().is_empty();
    reader.name();
    if has_result == 1 {
        reader.scalar();
    }
    for tag in tags {
        reader.detail(*tag);
    }
    let duration = reader.number(8).max(reader.number(8));
    reader.names(u16::from(args), 1);
    let asks = matches!(SiteKind::of(kind), SiteKind::Read | SiteKind::Llm);
    let answers = asks || on_failure == ABORT || on_failure == SKIP;
    need(named && asks == (has_result == 1) && answers && duration <= PERIOD_US_MAX, Why::Site)
}
