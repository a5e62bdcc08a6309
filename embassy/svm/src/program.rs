//! A program as a view over its bytes: nothing is copied, everything is looked up where it lies.

use crate::container::{SECTIONS, Section, Signed};
use crate::reader::Reader;
use crate::refusal::{Checked, Refusal};
use crate::structure;
use crate::tables;
use crate::types::{Scalar, Slot, Types, read_value, skip_type};
use crate::value::{Handle, Space, ValueType};

/// How many slots each region has. They lie one after the other from slot 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// One for each parameter.
    pub params: u16,
    /// The flattened payloads of all triggers.
    pub inputs: u16,
    /// Durable.
    pub state: u16,
    /// Zero when a handler starts.
    pub locals: u16,
}

impl Regions {
    /// The first state slot.
    pub const fn state_base(&self) -> usize {
        self.params as usize + self.inputs as usize
    }

    /// The first local slot.
    pub const fn state_end(&self) -> usize {
        self.state_base() + self.state as usize
    }

    /// All slots.
    pub const fn total(&self) -> usize {
        self.state_end() + self.locals as usize
    }
}

/// What is proven of one execution, the worst over all handlers; as declared in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub fuel_max: u32,
    pub stack_max: u8,
    pub block_depth_max: u8,
    pub loop_depth_max: u8,
    pub actions_max: u16,
    pub emits_max: u16,
    pub reads_max: u16,
    pub llm_max: u16,
    pub state_bytes: u32,
    pub scratch_bytes: u32,
}

/// The direction of a pin that is an output.
const OUTPUT: u8 = 1;

/// A decoded program. It borrows the bytes of the file and takes about 100 bytes itself.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) code: &'a [u8],
    /// Where the payload of each section from 3 on starts, by id.
    at: [u32; SECTIONS],
    pub(crate) profile: u8,
    /// Whether any slot holds text.
    pub(crate) has_text: bool,
    /// How many slots each region has.
    pub regions: Regions,
    /// The limits that the file declares; [`crate::verify`] compares them with those it proves.
    pub limits: Limits,
}

/// One decoded instruction.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub opcode: u8,
    pub a: u8,
    pub b: u16,
}

/// Elements of one scalar type with their length in a slot of its own.
#[derive(Clone, Copy)]
pub(crate) struct Array {
    pub length_slot: u16,
    pub base: u16,
    pub capacity: u16,
}

/// The memory of a time word.
#[derive(Clone, Copy)]
pub(crate) struct Timer {
    pub kind: u8,
    pub base: u16,
    pub capacity: u16,
}

/// What a site does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SiteKind {
    /// LOAD_RESOURCE.
    Read = 0,
    /// CALL_ACTION.
    Act = 1,
    /// LLM_CALL.
    Llm = 2,
    /// EMIT_EVENT.
    Emit = 3,
}

pub(crate) const ABORT: u8 = 0;
pub(crate) const SKIP: u8 = 1;
pub(crate) const FALLBACK: u8 = 2;

/// One place where a program meets the world.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// What it does.
    pub kind: SiteKind,
    pub(crate) on_failure: u8,
    /// How often the host tries again.
    pub retries: u8,
    /// Whether repeating the same value changes nothing.
    pub level: bool,
    /// Fuel.
    pub cost: u16,
    /// Number of arguments.
    pub args: u8,
    pub(crate) has_result: bool,
    pub(crate) rest: Reader<'a>,
    types: Types,
}

/// What a host needs to know of a site beside its kind and types.
#[derive(Clone, Copy)]
pub struct SiteNames<'a> {
    /// Wait before the first retry, us.
    pub backoff_us: u64,
    /// When the host gives up, us; 0: never.
    pub timeout_us: u64,
    /// The capability, or the name of the event.
    pub capability: &'a [u8],
    /// The key of the physical resource, with `{argument}` holes.
    pub resource: &'a [u8],
    pub(crate) args_at: Reader<'a>,
}

impl<'a> Site<'a> {
    /// The types of the arguments, in order.
    pub fn arg_types(&self) -> impl Iterator<Item = Scalar> + use<'a> {
        let (mut reader, types) = (self.rest, self.types);
        (0..self.args).map_while(move |_| types.scalar(&mut reader).ok())
    }

    /// The type of the result: of a read or llm site.
    pub fn result(&self) -> Option<Scalar> {
        let mut reader = self.rest;
        for _ in 0..self.args {
            skip_type(&mut reader).ok()?;
        }
        if self.has_result { self.types.scalar(&mut reader).ok() } else { None }
    }

    /// What stands behind the types.
    pub fn names(&self) -> Option<SiteNames<'a>> {
        let mut reader = self.rest;
        for _ in 0..self.args + u8::from(self.has_result) {
            skip_type(&mut reader).ok()?;
        }
        structure::read_site_names(&mut reader).ok()
    }
}

/// What starts an execution. The handler is the code from `entry` to before `end`.
#[derive(Clone, Copy)]
pub struct Trigger<'a> {
    /// 0 every, 1 cron, 2 source.
    pub kind: u8,
    /// Index of the key field, 255 for none.
    pub key: u8,
    /// First slot of its inputs.
    pub input_base: u16,
    /// First instruction of its handler.
    pub entry: u16,
    /// Behind the last instruction of its handler.
    pub end: u16,
    /// Period of `every`, or of a source that samples, in us.
    pub period_us: u64,
    /// The event source.
    pub source: &'a [u8],
    /// Its address, or the expression of `cron`.
    pub address: &'a [u8],
    /// The name that the rule gives to the event.
    pub binding: &'a [u8],
    /// Number of fields of the payload.
    pub fields: u8,
    pub(crate) rest: Reader<'a>,
}

impl<'a> Program<'a> {
    /// Check the bytes of a `.svm` file, signatures unchecked, and return the program in them.
    ///
    /// Refuses what the one encoder would not have written (docs/svm.md). The code is not proven: see [`crate::verify`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let signed = Signed::parse(bytes)?;
        let sections = signed.sections()?;
        let mut program = Self {
            bytes: signed.signed_bytes,
            code: &[],
            at: sections.map(|section| section.reader.position as u32),
            profile: signed.header.profile,
            has_text: false,
            regions: Regions::default(),
            limits: Limits::default(),
        };
        structure::read_sections(&mut program, &sections)?;
        Ok(program)
    }

    pub(crate) const fn types(&self) -> Types {
        Types { profile: self.profile }
    }

    /// A reader at the payload of section `id`, from 1.
    pub(crate) fn section(&self, id: usize) -> Reader<'a> {
        Reader::new(self.bytes, self.at(id))
    }

    fn at(&self, id: usize) -> usize {
        self.at.get(id.wrapping_sub(1)).copied().unwrap_or(0) as usize
    }

    /// Number of entries of a section that starts with a u16 count.
    pub(crate) fn count(&self, id: usize) -> u16 {
        self.section(id).u16().unwrap_or(0)
    }

    pub(crate) fn word(&self, pc: usize) -> Option<Word> {
        let start = pc.wrapping_mul(4);
        match self.code.get(start..start.wrapping_add(4)) {
            Some([opcode, a, low, high]) => Some(Word { opcode: *opcode, a: *a, b: u16::from_le_bytes([*low, *high]) }),
            _ => None,
        }
    }

    /// The runs of equal slots: how many, and what.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u16, Slot)> + use<'a> {
        let mut reader = self.section(3);
        reader.position += 8;
        let count = reader.u16().unwrap_or(0);
        (0..count).map_while(move |_| structure::read_run(&mut reader).ok())
    }

    /// What slot `index` holds.
    pub fn slot(&self, index: usize) -> Option<Slot> {
        let mut left = index;
        for (count, slot) in self.runs() {
            let Some(rest) = left.checked_sub(usize::from(count)) else {
                return Some(slot);
            };
            left = rest;
        }
        None
    }

    /// Whether the slots from `base` on are `count` times `slot`.
    pub(crate) fn slots_are(&self, base: usize, count: usize, slot: Slot) -> bool {
        let (end, mut start) = (base + count, 0);
        for (run, found) in self.runs() {
            let run_end = start + usize::from(run);
            if start < end && base < run_end && found != slot {
                return false;
            }
            start = run_end;
        }
        end <= start
    }

    /// The type of constant `index` and its word.
    pub(crate) fn constant(&self, index: u16) -> Option<(ValueType, u64)> {
        let mut reader = self.entry(5, index, structure::CONSTANT_BYTES)?;
        let value_type = ValueType::from_code(reader.u8().ok()?)?;
        let word = reader.u64().ok()?;
        if value_type != ValueType::Text {
            return Some((value_type, word));
        }
        let texts = self.at(5) + 2 + usize::from(self.count(5)) * structure::CONSTANT_BYTES;
        let handle = Handle::new(Space::Program, texts + word as u32 as usize, (word >> 32) as u16 as usize);
        Some((value_type, handle.word()))
    }

    pub(crate) fn array(&self, index: u16) -> Option<Array> {
        let mut reader = self.entry(6, index, 6)?;
        structure::read_array(&mut reader).ok()
    }

    pub(crate) fn timer(&self, index: u16) -> Option<Timer> {
        let mut reader = self.entry(7, index, 6)?;
        structure::read_timer(&mut reader).ok()
    }

    /// A reader at entry `index` of a section of entries of `size` bytes.
    fn entry(&self, id: usize, index: u16, size: usize) -> Option<Reader<'a>> {
        let mut reader = self.section(id);
        if index >= reader.u16().ok()? {
            return None;
        }
        reader.position += usize::from(index) * size;
        Some(reader)
    }

    /// Site `index`.
    pub fn site(&self, index: u16) -> Option<Site<'a>> {
        let mut reader = self.entry(8, index, 4)?;
        let offset = reader.u32().ok()? as usize;
        reader.position = self.at(8) + 2 + usize::from(self.count(8)) * 4 + offset;
        self.read_site(&mut reader).ok()
    }

    pub(crate) fn read_site(&self, reader: &mut Reader<'a>) -> Checked<Site<'a>> {
        structure::read_site_head(reader).map(|mut site| {
            site.types = self.types();
            site
        })
    }

    /// Trigger `index`.
    pub fn trigger(&self, index: usize) -> Option<Trigger<'a>> {
        let mut reader = self.section(11);
        if index >= usize::from(reader.u8().ok()?) {
            return None;
        }
        for _ in 0..index {
            let trigger = structure::read_trigger_head(&mut reader).ok()?;
            tables::skip_fields(self, &mut reader, trigger.fields).ok()?;
        }
        structure::read_trigger_head(&mut reader).ok()
    }

    /// Number of triggers.
    pub fn triggers(&self) -> usize {
        usize::from(self.section(11).u8().unwrap_or(0))
    }

    /// Read the flattened values of the type at `start`.
    pub(crate) fn read_values(&self, start: Reader<'a>, values: &mut Reader<'a>) -> Checked<()> {
        self.each_value(start, values, &mut |_| ())
    }

    /// Read the flattened values of the type at `start` and hand on the word of each.
    pub(crate) fn each_value(
        &self,
        mut start: Reader<'a>,
        values: &mut Reader<'a>,
        take: &mut dyn FnMut(u64),
    ) -> Checked<()> {
        self.types().flatten(&mut start, &mut |scalar, count| {
            for _ in 0..count {
                take(read_value(values, scalar)?);
            }
            Ok(())
        })
    }

    /// The name of the rule and its version.
    pub fn name(&self) -> (&'a [u8], &'a [u8]) {
        let mut reader = self.section(1);
        let rule = reader.name().unwrap_or(&[]);
        (rule, reader.name().unwrap_or(&[]))
    }

    /// The exact name of the chip that it was compiled for; empty for any.
    pub fn chip(&self) -> &'a [u8] {
        let mut reader = self.section(1);
        let names = (reader.name(), reader.name());
        if names.0.is_err() || names.1.is_err() { &[] } else { reader.name().unwrap_or(&[]) }
    }

    /// The name of pin `index` and whether it is an output.
    pub fn pin(&self, index: u8) -> Option<(&'a [u8], bool)> {
        let mut reader = tables::at_pins(self)?;
        let count = reader.u8().ok()?;
        for _ in 0..index.min(count) {
            reader.name().ok()?;
            reader.u8().ok()?;
        }
        let (name, direction) = (reader.name().ok()?, reader.u8().ok()?);
        (index < count).then_some((name, direction == OUTPUT))
    }

    /// The priority of the rule, 0 critical to 4 background.
    pub fn priority(&self) -> u8 {
        self.bytes.get(7).copied().unwrap_or(0)
    }
}

pub(crate) const fn site_of<'a>(rest: Reader<'a>) -> Site<'a> {
    Site {
        kind: SiteKind::Read,
        on_failure: ABORT,
        retries: 0,
        level: false,
        cost: 0,
        args: 0,
        has_result: false,
        rest,
        types: Types { profile: 0 },
    }
}

/// The payloads of all sections.
pub(crate) type Sections<'a> = [Section<'a>; SECTIONS];
