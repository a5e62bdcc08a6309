//! A program as a view over its bytes: nothing is copied, everything is looked up where it lies.

use crate::container::{SECTIONS, Signed};
use crate::reader::Reader;
use crate::refusal::Refusal;
use crate::site::Site;
use crate::structure::{self, CONSTANT_BYTES, ENTRY_BYTES, SITE_BYTES};
use crate::tables;
use crate::types::Slot;
use crate::value::{Handle, ValueType};

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

    /// The region of a slot: 0 params, 1 inputs, 2 state, 3 locals.
    pub(crate) fn of(&self, slot: usize) -> u8 {
        let ends = [usize::from(self.params), self.state_base(), self.state_end()];
        ends.iter().map(|end| u8::from(slot >= *end)).sum()
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

/// A decoded program. It borrows the bytes of the file and takes about 90 bytes itself.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) code: &'a [[u8; 4]],
    /// Where the payload of each section starts.
    at: [u32; SECTIONS],
    pub(crate) fuel_max: u32,
    pub(crate) profile: u8,
    pub(crate) pins: u8,
    pub(crate) triggers: u8,
    /// Whether any slot holds text.
    pub(crate) has_text: bool,
    /// How many slots each region has.
    pub regions: Regions,
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
    pub kind: u16,
    pub base: u16,
    pub capacity: u16,
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

const OUTPUT: u8 = 1;

/// Size of the head of a trigger.
pub(crate) const HEAD_BYTES: usize = 6;

/// What runs when a trigger fires: the code from `entry` to before `end`, on the input slots from `input_base` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    pub(crate) kind: u8,
    /// The field of the payload by which events are told apart; 255: none.
    pub(crate) key: u8,
    /// First instruction.
    pub entry: u16,
    /// Behind the last instruction.
    pub end: u16,
    /// First slot of the inputs.
    pub input_base: u16,
    /// Behind the last slot of the inputs.
    pub input_end: u16,
}

/// What starts an execution, for a host.
#[derive(Clone, Copy)]
pub struct Trigger<'a> {
    /// 0 every, 1 cron, 2 source.
    pub kind: u8,
    /// Period of `every`, or of a source that samples, in us.
    pub period_us: u64,
    /// The event source.
    pub source: &'a [u8],
    /// Its address, or the expression of `cron`.
    pub address: &'a [u8],
}

impl<'a> Program<'a> {
    /// Check the bytes of a `.svm` file, signatures unchecked, and return the program in them.
    ///
    /// # Errors
    /// Refuses what the one encoder would not have written (docs/svm.md). The code is not proven: see [`crate::verify`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let signed = Signed::parse(bytes)?;
        let mut program = Self {
            bytes: signed.signed_bytes,
            code: &[],
            at: [0; SECTIONS],
            fuel_max: 0,
            profile: signed.header.profile,
            pins: 0,
            triggers: 0,
            has_text: false,
            regions: Regions::default(),
        };
        structure::read_sections(&mut program, &signed)?;
        Ok(program)
    }

    pub(crate) fn set_section(&mut self, id: u8, position: usize) {
        if let Some(at) = self.at.get_mut(usize::from(id).wrapping_sub(1)) {
            *at = position as u32;
        }
    }

    /// A reader at the payload of section `id`, from 1.
    #[inline(never)]
    pub(crate) fn section(&self, id: usize) -> Reader<'a> {
        let at = self.at.get(id.wrapping_sub(1)).copied().unwrap_or(0);
        Reader::new(self.bytes, at as usize, self.profile, false)
    }

    /// Number of entries of a section that starts with a u16 count.
    pub(crate) fn count(&self, id: usize) -> u16 {
        self.section(id).u16()
    }

    /// `N` bytes of the program from `position` on; zeros where it has not as many.
    #[inline(always)]
    pub(crate) fn piece<const N: usize>(&self, position: usize) -> &'a [u8; N] {
        self.bytes.get(position..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; N])
    }

    /// Where the payload of section `id` starts.
    fn start(&self, id: usize) -> usize {
        self.at.get(id.wrapping_sub(1)).map_or(0, |at| *at as usize)
    }

    /// The instruction `pc`; beyond the code a word of zeros, which is none.
    pub(crate) fn word(&self, pc: u16) -> Word {
        let [opcode, a, low, high] = self.code.get(usize::from(pc)).copied().unwrap_or_default();
        Word { opcode, a, b: u16::from_le_bytes([low, high]) }
    }

    /// Call `visit` with each run of equal slots: its first slot, the slot behind it, and what they hold.
    #[inline(never)]
    pub(crate) fn runs(&self, visit: &mut dyn FnMut(usize, usize, Slot)) {
        let mut reader = self.section(3);
        reader.position += 8;
        let mut start = 0;
        for _ in 0..reader.u16() {
            let (count, slot) = structure::read_run(&mut reader);
            let end = start + usize::from(count);
            visit(start, end, slot);
            start = end;
        }
    }

    /// What slot `index` holds, if there is one.
    pub fn slot(&self, index: usize) -> Option<Slot> {
        (index < self.regions.total()).then(|| self.slot_at(index))
    }

    /// What slot `index` holds; of one that does not exist a bool.
    #[inline(never)]
    pub(crate) fn slot_at(&self, index: usize) -> Slot {
        let mut found = Slot::of(ValueType::Bool);
        self.runs(&mut |start, end, slot| {
            if start <= index && index < end {
                found = slot;
            }
        });
        found
    }

    /// Whether the slots from `base` on are `count` times `slot`.
    #[inline(never)]
    pub(crate) fn slots_are(&self, base: usize, count: usize, slot: Slot) -> bool {
        let (end, mut right) = (base + count, base + count <= self.regions.total());
        self.runs(&mut |start, run_end, found| right &= start >= end || base >= run_end || found == slot);
        right || count == 0
    }

    /// The sum of the limits of the text slots from `start` to before `end`, and `more` for each of them.
    #[inline(never)]
    pub(crate) fn text_bytes(&self, start: usize, end: usize, more: usize) -> usize {
        let mut sum = 0;
        self.runs(&mut |first, next, slot| {
            let within = next.min(end).saturating_sub(first.max(start));
            if slot.value_type == ValueType::Text {
                sum += within * (usize::from(slot.size_bytes_max) + more);
            }
        });
        sum
    }

    /// The type of a constant that exists.
    pub(crate) fn constant_type(&self, index: usize) -> ValueType {
        let [code] = *self.piece(self.start(5) + 2 + CONSTANT_BYTES * index);
        ValueType::of(code)
    }

    /// The word of a constant that exists.
    #[inline(never)]
    pub(crate) fn constant(&self, index: usize) -> u64 {
        let position = self.start(5) + 2 + CONSTANT_BYTES * index;
        let [code, word @ ..]: [u8; CONSTANT_BYTES] = *self.piece(position);
        let word = u64::from_le_bytes(word);
        if code == ValueType::Text as u8 { word + self.constant_texts() as u64 } else { word }
    }

    /// The type of a constant that exists, and the bytes that tell it from others of this type: of a text its own.
    pub(crate) fn content(&self, index: usize) -> (ValueType, &'a [u8]) {
        let value_type = self.constant_type(index);
        if value_type == ValueType::Text {
            return (value_type, self.text(Handle::from_word(self.constant(index))));
        }
        let start = self.start(5) + 3 + CONSTANT_BYTES * index;
        (value_type, self.bytes.get(start..start + 8).unwrap_or(&[]))
    }

    /// Where the texts of the constants start.
    #[inline(never)]
    fn constant_texts(&self) -> usize {
        self.start(5) + 2 + CONSTANT_BYTES * usize::from(self.count(5))
    }

    /// The bytes of a text that lies in the program.
    pub(crate) fn text(&self, handle: Handle) -> &'a [u8] {
        let start = handle.offset as usize;
        self.bytes.get(start..start.wrapping_add(usize::from(handle.size))).unwrap_or(&[])
    }

    pub(crate) fn array(&self, index: u16) -> Array {
        let [length_slot, base, capacity] = self.entry(6, index);
        Array { length_slot, base, capacity }
    }

    pub(crate) fn timer(&self, index: u16) -> Timer {
        let [kind, base, capacity] = self.entry(7, index);
        Timer { kind, base, capacity }
    }

    /// The three numbers of an array or a timer.
    #[inline(never)]
    fn entry(&self, id: usize, index: u16) -> [u16; 3] {
        let [a, b, c, d, e, f] = *self.piece(self.start(id) + 2 + ENTRY_BYTES * usize::from(index));
        [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u16::from_le_bytes([e, f])]
    }

    /// Site `index`, if there is one.
    pub fn site(&self, index: u16) -> Option<Site<'a>> {
        (index < self.sites()).then(|| self.site_at(index))
    }

    /// Site `index`, which must exist.
    #[inline(never)]
    pub(crate) fn site_at(&self, index: u16) -> Site<'a> {
        let position = self.site_position(index);
        let rest = self.bytes.get(position.wrapping_add(SITE_BYTES)..).unwrap_or(&[]);
        Site::of(*self.piece(position), rest)
    }

    /// Where the entry of a site starts.
    pub(crate) fn site_position(&self, index: u16) -> usize {
        let start = self.start(8);
        start.wrapping_add(u32::from_le_bytes(*self.piece(start + 2 + 4 * usize::from(index))) as usize)
    }

    /// Number of sites.
    pub fn sites(&self) -> u16 {
        self.count(8)
    }

    /// The handler of trigger `index`, from 0 to below [`Program::triggers`].
    pub fn handler(&self, index: usize) -> Option<Handler> {
        (index < self.triggers()).then(|| self.handler_at(index))
    }

    /// The handler of a trigger that exists; each starts where the one before it ends.
    #[inline(never)]
    pub(crate) fn handler_at(&self, index: usize) -> Handler {
        let head = |index: usize| -> &'a [u8; HEAD_BYTES] { self.piece(self.start(11) + 1 + HEAD_BYTES * index) };
        let [kind, key, a, b, c, d] = *head(index);
        let (mut entry, mut input_base) = (0, self.regions.params);
        if let Some(before) = index.checked_sub(1) {
            let [_, _, a, b, c, d] = *head(before);
            (input_base, entry) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        }
        let (input_end, end) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        Handler { kind, key, entry, end, input_base, input_end }
    }

    /// Trigger `index`.
    pub fn trigger(&self, index: usize) -> Option<Trigger<'a>> {
        let mut reader = self.section(11);
        reader.position += 1 + HEAD_BYTES * self.triggers();
        for before in 0..index.min(self.triggers()) {
            let _ = tables::check_trigger(self, &self.handler_at(before), &mut reader);
        }
        let kind = self.handler(index)?.kind;
        Some(Trigger { kind, period_us: reader.number(8), source: reader.name(), address: reader.text() })
    }

    /// Number of triggers.
    pub fn triggers(&self) -> usize {
        usize::from(self.triggers)
    }

    /// The largest depth of the operand stack, as declared.
    pub(crate) fn stack_max(&self) -> usize {
        let [depth] = *self.piece(self.start(2) + 4);
        usize::from(depth)
    }

    /// The limits that the file declares; [`crate::verify`] compares them with those it proves.
    pub fn limits(&self) -> Limits {
        let mut reader = self.section(2);
        let mut limits = Limits {
            fuel_max: reader.u32(),
            stack_max: reader.u8(),
            block_depth_max: reader.u8(),
            loop_depth_max: reader.u8(),
            ..Limits::default()
        };
        reader.u8();
        limits.actions_max = reader.u16();
        limits.emits_max = reader.u16();
        limits.reads_max = reader.u16();
        limits.llm_max = reader.u16();
        limits.state_bytes = reader.u32();
        limits.scratch_bytes = reader.u32();
        limits
    }

    /// The name of the rule and its version.
    pub fn name(&self) -> (&'a [u8], &'a [u8]) {
        let mut reader = self.section(1);
        (reader.name(), reader.name())
    }

    /// The exact name of the chip that it was compiled for; empty for any.
    pub fn chip(&self) -> &'a [u8] {
        let mut reader = self.section(1);
        reader.name();
        reader.name();
        reader.name()
    }

    /// The name of pin `index` and whether it is an output.
    pub fn pin(&self, index: u8) -> Option<(&'a [u8], bool)> {
        let mut reader = self.params();
        for _ in 0..self.regions.params {
            tables::read_param(&mut reader);
        }
        let (mut name, count) = (&[][..], reader.u8());
        for pin in 0..count {
            let next = reader.name();
            if pin == index {
                name = next;
            }
        }
        reader.take(usize::from(index));
        (index < count).then(|| (name, reader.u8() == OUTPUT))
    }

    /// A reader at the parameters, behind their names.
    pub(crate) fn params(&self) -> Reader<'a> {
        let mut reader = self.section(9);
        let count = reader.u8();
        reader.names(u16::from(count), 0);
        reader
    }

    /// The priority of the rule, 0 critical to 4 background.
    pub fn priority(&self) -> u8 {
        self.bytes.get(7).copied().unwrap_or(0)
    }
}
