//! Everything about a program that is checked without looking at its code, section by section: docs/svm.md, Verification.

use crate::container::Section;
use crate::program::{
    ABORT, Array, FALLBACK, Limits, Program, SKIP, Sections, Site, SiteKind, SiteNames, Timer, Trigger, site_of,
};
use crate::reader::{Reader, unique};
use crate::refusal::{Checked, Why};
use crate::table::TimerEntry;
use crate::tables;
use crate::text::is_utf8;
use crate::types::{Scalar, Slot, read_value, text_bytes_max};
use crate::value::{Handle, Texts, ValueType};

const SLOTS_MAX: [usize; 2] = [4_096, 512];
/// Size of the entry of a constant.
pub(crate) const CONSTANT_BYTES: usize = 9;
const CONSTANTS_MAX: u16 = 1_024;
const ARRAYS_MAX: u16 = 256;
const TIMERS_MAX: u16 = 256;
const SITES_MAX: u16 = 256;
const ARGS_MAX: u8 = 32;
/// Longest duration of a site or a trigger.
pub(crate) const PERIOD_US_MAX: u64 = 1 << 62;

/// Check the sections, each with the help of those before it, and set the program's fields.
pub(crate) fn read_sections<'a>(program: &mut Program<'a>, sections: &Sections<'a>) -> Checked<()> {
    let [meta, limits, slots, code, constants, arrays, timers, sites, params, state, triggers, map] = *sections;
    whole(meta, tables::check_meta)?;
    whole(limits, |reader| {
        program.limits = read_limits(reader)?;
        Ok(())
    })?;
    whole(slots, |reader| read_slots(program, reader))?;
    whole(code, |reader| {
        let count = reader.u16()?;
        reader.need(count > 0, Why::TooMany)?;
        reader.zeros(2)?;
        program.code = reader.take(usize::from(count) * 4)?;
        Ok(())
    })?;
    let program = &*program;
    whole(constants, |reader| check_constants(program, reader))?;
    whole(arrays, |reader| counted(reader, ARRAYS_MAX, |reader| check_array(program, reader)))?;
    whole(timers, |reader| counted(reader, TIMERS_MAX, |reader| check_timer(program, reader)))?;
    whole(sites, |reader| check_sites(program, reader))?;
    whole(params, |reader| tables::check_params(program, reader))?;
    whole(state, |reader| tables::check_state(program, reader))?;
    whole(triggers, |reader| tables::check_triggers(program, reader))?;
    whole(map, |reader| tables::check_source_map(program, reader))
}

/// Read a section to its end.
fn whole<'a>(section: Section<'a>, read: impl FnOnce(&mut Reader<'a>) -> Checked<()>) -> Checked<()> {
    let mut reader = section.reader;
    read(&mut reader)?;
    reader.finish()
}

/// Read a u16 count and so many entries.
fn counted<'a>(
    reader: &mut Reader<'a>,
    most: u16,
    mut read: impl FnMut(&mut Reader<'a>) -> Checked<()>,
) -> Checked<()> {
    let count = reader.u16()?;
    reader.need(count <= most, Why::TooMany)?;
    for _ in 0..count {
        read(reader)?;
    }
    Ok(())
}

fn read_limits(reader: &mut Reader<'_>) -> Checked<Limits> {
    let mut limits = Limits {
        fuel_max: reader.u32()?,
        stack_max: reader.u8()?,
        block_depth_max: reader.u8()?,
        loop_depth_max: reader.u8()?,
        ..Limits::default()
    };
    reader.zeros(1)?;
    limits.actions_max = reader.u16()?;
    limits.emits_max = reader.u16()?;
    limits.reads_max = reader.u16()?;
    limits.llm_max = reader.u16()?;
    limits.state_bytes = reader.u32()?;
    limits.scratch_bytes = reader.u32()?;
    Ok(limits)
}

fn read_slots(program: &mut Program<'_>, reader: &mut Reader<'_>) -> Checked<()> {
    program.regions.params = reader.u16()?;
    program.regions.inputs = reader.u16()?;
    program.regions.state = reader.u16()?;
    program.regions.locals = reader.u16()?;
    let total = program.regions.total();
    let most = SLOTS_MAX.get(usize::from(program.profile)).copied().unwrap_or(0);
    reader.need(total <= most, Why::TooMany)?;
    let (mut found, mut before) = (0, None);
    for _ in 0..reader.u16()? {
        let (count, slot) = read_run(reader)?;
        check_slot(program, slot, reader)?;
        program.has_text |= slot.value_type == ValueType::Text;
        found += usize::from(count);
        reader.need(count > 0 && found <= total && before != Some(slot), Why::Layout)?;
        before = Some(slot);
    }
    reader.need(found == total, Why::Layout)
}

fn check_slot(program: &Program<'_>, slot: Slot, reader: &Reader<'_>) -> Checked<()> {
    let range = match slot.value_type {
        ValueType::Text => 1..=text_bytes_max(program.profile),
        _ => 0..=0,
    };
    reader.need(range.contains(&slot.size_bytes_max), Why::Layout)
}

/// Read a run of equal slots: how many, and what.
pub(crate) fn read_run(reader: &mut Reader<'_>) -> Checked<(u16, Slot)> {
    let (count, size_bytes_max) = (reader.u16()?, reader.u16()?);
    let value_type = read_value_type(reader)?;
    reader.zeros(1)?;
    Ok((count, Slot { value_type, size_bytes_max }))
}

fn read_value_type(reader: &mut Reader<'_>) -> Checked<ValueType> {
    let code = reader.u8()?;
    ValueType::from_code(code).ok_or(reader.fault(Why::Unknown))
}

fn check_constants<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
    let first = *reader;
    let mut offset = 0;
    counted(reader, CONSTANTS_MAX, |reader| {
        let value_type = read_value_type(reader)?;
        reader.need(value_type != ValueType::Bool, Why::Value)?;
        if value_type == ValueType::Text {
            let right = reader.u32()? == offset;
            reader.need(right, Why::Order)?;
            let size = reader.u16()?;
            reader.need(size <= text_bytes_max(program.profile), Why::Text)?;
            offset += u32::from(size);
            return reader.zeros(2);
        }
        let slot = Slot { value_type, size_bytes_max: 0 };
        read_value(reader, Scalar { slot, end: 0, pin: false, bounded: false }).map(|_| ())
    })?;
    let count = program.count(5);
    for index in 0..count {
        if let Some((ValueType::Text, word)) = program.constant(index) {
            let right = is_utf8(reader.take(usize::from(Handle::from_word(word).size))?);
            reader.need(right, Why::Text)?;
        }
    }
    let texts = Texts { program: program.bytes, own: &[], scratch: &[] };
    let value = |index| {
        program.constant(index).map(|(value_type, word)| match value_type {
            ValueType::Text => (value_type, 0, texts.get(Handle::from_word(word))),
            _ => (value_type, word, &[] as &[u8]),
        })
    };
    for index in 0..count {
        for other in 0..index {
            first.need(value(index) != value(other), Why::Value)?;
        }
    }
    Ok(())
}

/// Read an array.
pub(crate) fn read_array(reader: &mut Reader<'_>) -> Checked<Array> {
    Ok(Array { length_slot: reader.u16()?, base: reader.u16()?, capacity: reader.u16()? })
}

fn check_array(program: &Program<'_>, reader: &mut Reader<'_>) -> Checked<()> {
    let array = read_array(reader)?;
    let (base, length_slot) = (usize::from(array.base), usize::from(array.length_slot));
    let end = base + usize::from(array.capacity);
    reader.need(array.capacity > 0 && end.max(length_slot + 1) <= program.regions.total(), Why::Layout)?;
    let region = region_of(program, base);
    let one_region = region == region_of(program, end - 1) && region == region_of(program, length_slot);
    let outside = !(base..end).contains(&length_slot);
    let length = program.slot(length_slot).is_some_and(|slot| slot.value_type == ValueType::Int);
    let same = program.slot(base).is_some_and(|slot| program.slots_are(base, end - base, slot));
    reader.need(one_region && outside && length && same, Why::Layout)
}

/// The region of a slot: 0 params, 1 inputs, 2 state, 3 locals.
fn region_of(program: &Program<'_>, slot: usize) -> usize {
    let regions = &program.regions;
    let ends = [usize::from(regions.params), regions.state_base(), regions.state_end()];
    ends.iter().filter(|end| slot >= **end).count()
}

/// Read a timer.
pub(crate) fn read_timer(reader: &mut Reader<'_>) -> Checked<Timer> {
    let kind = reader.u8()?;
    reader.zeros(1)?;
    Ok(Timer { kind, base: reader.u16()?, capacity: reader.u16()? })
}

fn check_timer(program: &Program<'_>, reader: &mut Reader<'_>) -> Checked<()> {
    let timer = read_timer(reader)?;
    let Some(entry) = TimerEntry::of(timer.kind) else {
        return Err(reader.fault(Why::Unknown));
    };
    reader.need(entry.window() == (timer.capacity > 0), Why::Layout)?;
    let (base, capacity) = (usize::from(timer.base), usize::from(timer.capacity));
    let slot = |value_type| Slot { value_type, size_bytes_max: 0 };
    let size = timer.size();
    let right = if entry.window() {
        program.slots_are(base, 2 + capacity, slot(ValueType::Int))
            && program.slots_are(base + 2 + capacity, capacity, slot(ValueType::Float))
    } else {
        let memory = if entry.has_span() { ValueType::Int } else { ValueType::Bool };
        program.slots_are(base, 1, slot(memory))
    };
    need_state(program, base, size, reader)?;
    reader.need(right, Why::Layout)
}

/// Refuse what lies outside of the state region.
pub(crate) fn need_state(program: &Program<'_>, base: usize, size: usize, reader: &Reader<'_>) -> Checked<()> {
    let regions = &program.regions;
    reader.need(regions.state_base() <= base && base + size <= regions.state_end(), Why::Layout)
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

/// Read a site up to its arguments; `rest` stands there.
pub(crate) fn read_site_head<'a>(reader: &mut Reader<'a>) -> Checked<Site<'a>> {
    let mut site = site_of(*reader);
    site.kind = match reader.below(4, Why::Unknown)? {
        0 => SiteKind::Read,
        1 => SiteKind::Act,
        2 => SiteKind::Llm,
        _ => SiteKind::Emit,
    };
    site.on_failure = reader.below(FALLBACK + 1, Why::Unknown)?;
    site.retries = reader.u8()?;
    site.level = reader.flag()?;
    site.cost = reader.u16()?;
    site.args = reader.u8()?;
    site.has_result = reader.flag()?;
    site.rest = *reader;
    Ok(site)
}

/// Read what stands behind the types of a site, up to the names of its arguments.
pub(crate) fn read_site_names<'a>(reader: &mut Reader<'a>) -> Checked<SiteNames<'a>> {
    let mut names = SiteNames {
        backoff_us: reader.u64()?,
        timeout_us: reader.u64()?,
        capability: reader.name()?,
        resource: reader.name()?,
        args_at: *reader,
    };
    names.args_at = *reader;
    Ok(names)
}

fn check_sites<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
    let mut starts = *reader;
    let count = starts.u16()?;
    starts.need(count <= SITES_MAX, Why::TooMany)?;
    reader.take(2 + 4 * usize::from(count))?;
    let first = reader.position;
    for _ in 0..count {
        let start = starts.u32()? as usize;
        reader.need(reader.position.checked_sub(first) == Some(start), Why::Order)?;
        check_site(program, reader)?;
    }
    Ok(())
}

fn check_site<'a>(program: &Program<'a>, reader: &mut Reader<'a>) -> Checked<()> {
    let site = program.read_site(reader)?;
    reader.need(site.args <= ARGS_MAX, Why::TooMany)?;
    for _ in 0..site.args + u8::from(site.has_result) {
        program.types().scalar(reader)?;
    }
    let names = read_site_names(reader)?;
    for _ in 0..site.args {
        reader.name()?;
    }
    unique(names.args_at, usize::from(site.args), false, &Reader::name)?;
    let asks = matches!(site.kind, SiteKind::Read | SiteKind::Llm);
    let answers = asks || site.on_failure == ABORT || site.on_failure == SKIP;
    let durations = names.backoff_us.max(names.timeout_us) <= PERIOD_US_MAX;
    reader.need(!names.capability.is_empty() && asks == site.has_result && answers && durations, Why::Site)
}

/// Read a trigger up to its fields; `rest` stands there.
pub(crate) fn read_trigger_head<'a>(reader: &mut Reader<'a>) -> Checked<Trigger<'a>> {
    let mut trigger = Trigger {
        kind: reader.below(3, Why::Unknown)?,
        key: reader.u8()?,
        input_base: reader.u16()?,
        entry: reader.u16()?,
        end: reader.u16()?,
        period_us: reader.u64()?,
        source: reader.name()?,
        address: reader.text()?,
        binding: reader.name()?,
        fields: reader.u8()?,
        rest: *reader,
    };
    trigger.rest = *reader;
    Ok(trigger)
}
