//! Types of the language in a program, walked where they lie: docs/svm.md, Memory and The `.svm` file.

use crate::reader::Reader;
use crate::refusal::Why;
use crate::value::{Handle, Space, ValueType, canonical};

const DEPTH_MAX: u8 = 4;
/// A type of more slots is refused.
const FLAT_SLOTS_MAX: u32 = 4_096;
const TEXT_BYTES_MAX: u16 = 4_096;
const TEXT_BYTES_MCU_MAX: u16 = 255;

const BOOL: u8 = 0;
pub(crate) const TEXT: u8 = 4;
pub(crate) const ENUM: u8 = 5;
const LIST: u8 = 6;
const RECORD: u8 = 7;
const PIN: u8 = 8;
/// The value type of each scalar tag.
const VALUE_TYPES: [ValueType; 9] = [
    ValueType::Bool,
    ValueType::Int,
    ValueType::Float,
    ValueType::Int,
    ValueType::Text,
    ValueType::Int,
    ValueType::Int,
    ValueType::Int,
    ValueType::Int,
];

/// The type of the slot that holds a scalar of this tag.
pub(crate) fn value_type_of(tag: u8) -> ValueType {
    VALUE_TYPES.get(usize::from(tag)).copied().unwrap_or(ValueType::Int)
}

/// The largest byte limit of a text on a profile (0 linux, 1 mcu).
pub(crate) const fn text_bytes_max(profile: u8) -> u16 {
    if profile == 0 { TEXT_BYTES_MAX } else { TEXT_BYTES_MCU_MAX }
}

/// One slot of memory: its type, and the byte limit of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The type of the slot, for ever.
    pub value_type: ValueType,
    /// Bytes of a text that fit; 0 for the other types.
    pub size_bytes_max: u16,
}

impl Slot {
    pub(crate) const fn of(value_type: ValueType) -> Self {
        Self { value_type, size_bytes_max: 0 }
    }
}

/// What one slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The type of its slot.
    pub value_type: ValueType,
    tag: u8,
    /// The byte limit of a text; of an enum the number of members, of the length of a list its capacity plus 1.
    max: u16,
}

impl Scalar {
    /// The scalar of a tag below PIN; `max` as it is kept.
    pub(crate) fn tagged(tag: u8, max: u16) -> Self {
        Self { value_type: value_type_of(tag), tag, max }
    }

    pub(crate) const fn of(slot: Slot) -> Self {
        Self { value_type: slot.value_type, tag: BOOL, max: slot.size_bytes_max }
    }

    /// The slot that holds it.
    pub const fn slot(&self) -> Slot {
        let text = matches!(self.value_type, ValueType::Text);
        Slot { value_type: self.value_type, size_bytes_max: if text { self.max } else { 0 } }
    }

    /// Whether an int may stand in this slot, with so many pins.
    pub(crate) fn takes(&self, value: i64, pins: u8) -> bool {
        let end = match self.tag {
            ENUM | LIST => self.max,
            PIN => u16::from(pins),
            _ => return true,
        };
        (value as u64) < u64::from(end)
    }

    /// Whether a parameter of this type may have bounds: int, float or duration.
    pub(crate) const fn is_bounded(&self) -> bool {
        self.tag != BOOL && self.tag < TEXT
    }
}

/// What a walk over a type found: how many slots it takes, and whether it may be the element of a list.
#[derive(Clone, Copy)]
pub(crate) struct Flat {
    pub size: u32,
    pub shape: Shape,
}

/// The form of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar,
    /// A record of scalars.
    Flat,
    /// A list, or a record of more than scalars.
    Deep,
}

/// Called for each scalar of a type with the number of slots that hold it, in the order of the slots.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(Scalar, u16);

impl Reader<'_> {
    /// Read a type, check it all the way down, and visit its scalars.
    pub fn flatten(&mut self, visit: Visit<'_>) -> Flat {
        self.walk(1, visit)
    }

    /// Read a type without a look at its scalars.
    #[inline(never)]
    pub fn skip_type(&mut self) -> Flat {
        self.flatten(&mut |_, _| ())
    }

    /// Read a scalar type.
    #[inline(never)]
    pub fn scalar(&mut self) -> Scalar {
        let tag = self.u8();
        self.detail(tag)
    }

    /// Read what stands behind the tag of a scalar type.
    #[inline(never)]
    pub fn detail(&mut self, tag: u8) -> Scalar {
        self.need(tag != LIST && tag != RECORD, Why::Type);
        self.tagged(tag)
    }

    fn walk(&mut self, repeat: u16, visit: Visit<'_>) -> Flat {
        self.depth += 1;
        self.need(self.depth <= DEPTH_MAX, Why::Type);
        let mut flat = Flat { size: 1, shape: Shape::Scalar };
        match self.u8() {
            LIST => {
                let capacity = self.u16();
                visit(Scalar { value_type: ValueType::Int, tag: LIST, max: capacity.saturating_add(1) }, 1);
                let element = self.walk(capacity, visit);
                self.need(element.shape != Shape::Deep && capacity > 0, Why::Type);
                // An element has at most 4,096 slots and a capacity 16 bits: the product fits.
                flat = Flat { size: 1 + u32::from(capacity).wrapping_mul(element.size), shape: Shape::Deep };
            }
            RECORD => {
                self.name();
                flat = Flat { size: 0, shape: Shape::Flat };
                for _ in 0..self.members() {
                    let field = self.walk(repeat, visit);
                    flat.size = flat.size.wrapping_add(field.size);
                    if field.shape != Shape::Scalar {
                        flat.shape = Shape::Deep;
                    }
                }
            }
            tag => visit(self.tagged(tag), repeat),
        }
        self.need(flat.size <= FLAT_SLOTS_MAX, Why::Type);
        self.depth -= 1;
        flat
    }

    /// Read how many members an enum or fields a record has, at least one, and their names.
    #[inline(never)]
    fn members(&mut self) -> u8 {
        let count = self.u8();
        self.need(count > 0, Why::Type);
        self.names(u16::from(count), 0);
        count
    }

    #[inline(never)]
    fn tagged(&mut self, tag: u8) -> Scalar {
        self.need(tag <= PIN, Why::Unknown);
        let mut max = 0;
        match tag {
            TEXT => {
                max = self.u16();
                self.need(max >= 1 && max <= text_bytes_max(self.profile), Why::Type);
            }
            ENUM => {
                self.name();
                max = u16::from(self.members());
            }
            PIN => {
                self.below(2, Why::Unknown);
            }
            _ => (),
        }
        Scalar::tagged(tag, max)
    }

    /// Read one value in its one form and return it as a word; a text as a handle into the program.
    #[inline(never)]
    pub fn value(&mut self, scalar: Scalar) -> u64 {
        match scalar.value_type {
            ValueType::Bool => u64::from(self.flag()),
            ValueType::Text => {
                let size = usize::from(self.u16());
                self.need(size <= usize::from(scalar.max), Why::Text);
                let handle = Handle::new(Space::Program, self.position, size);
                self.utf8(size);
                handle.word()
            }
            value_type => {
                let word = self.number(8);
                let right = match value_type {
                    ValueType::Float => canonical(word) == word,
                    _ => scalar.takes(word as i64, u8::MAX) || scalar.tag == PIN,
                };
                self.need(right, Why::Value);
                word
            }
        }
    }

    /// Read the flattened values of the type that `type_at` stands before, and hand on the word of each.
    #[inline(never)]
    pub fn values(&mut self, mut type_at: Self, take: &mut dyn FnMut(u64)) {
        if !self.is_right() {
            return;
        }
        type_at.flatten(&mut |scalar, count| {
            for _ in 0..count {
                take(self.value(scalar));
            }
        });
    }
}
