//! Types of the language in a program, walked where they lie: docs/svm.md, Memory and The `.svm` file.

use crate::reader::{Reader, unique};
use crate::refusal::{Checked, Why};
use crate::text::is_utf8;
use crate::value::{Handle, NAN_BITS, Space, ValueType};

const DEPTH_MAX: u8 = 4;
/// A type of more slots is refused.
const FLAT_SLOTS_MAX: u32 = 4_096;
/// The largest byte limit of a text, by profile.
const TEXT_BYTES_MAX: [u16; 2] = [4_096, 255];

const BOOL: u8 = 0;
const FLOAT: u8 = 2;
const TEXT: u8 = 4;
const ENUM: u8 = 5;
const LIST: u8 = 6;
const RECORD: u8 = 7;
const PIN: u8 = 8;

/// The largest byte limit of a text on a profile (0 linux, 1 mcu).
pub(crate) fn text_bytes_max(profile: u8) -> u16 {
    TEXT_BYTES_MAX.get(usize::from(profile)).copied().unwrap_or(0)
}

/// One slot of memory: its type, and the byte limit of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The type of the slot, for ever.
    pub value_type: ValueType,
    /// Bytes of a text that fit; 0 for the other types.
    pub size_bytes_max: u16,
}

/// What one slot holds: of an int also what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The slot.
    pub slot: Slot,
    /// 0, or an int must be at least 0 and below this: the members of an enum, the lengths of a list.
    pub end: u32,
    /// Whether the int is the index of a pin.
    pub pin: bool,
    /// Whether a parameter of this type may have bounds: int, float or duration.
    pub bounded: bool,
}

impl Scalar {
    const fn of(value_type: ValueType, size_bytes_max: u16) -> Self {
        Self { slot: Slot { value_type, size_bytes_max }, end: 0, pin: false, bounded: false }
    }

    const fn below(end: u32) -> Self {
        let mut scalar = Self::of(ValueType::Int, 0);
        scalar.end = end;
        scalar
    }

    /// Whether an int may stand in this slot.
    pub const fn takes(&self, value: i64) -> bool {
        self.end == 0 || 0 <= value && value < self.end as i64
    }
}

/// What a walk over a type found.
#[derive(Clone, Copy)]
pub(crate) struct Flat {
    /// How many slots it takes.
    pub size: u32,
    /// What it holds, when it is a scalar.
    pub scalar: Option<Scalar>,
    /// Whether it may be the element of a list: a scalar, or a record of scalars.
    element: bool,
}

/// Called for each scalar of a type with the number of slots that hold it, in the order of the slots.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(Scalar, u16) -> Checked<()>;

/// Walks types of a program of one profile.
#[derive(Clone, Copy)]
pub(crate) struct Types {
    pub profile: u8,
}

impl Types {
    /// Read a type and check it all the way down.
    pub fn read(self, reader: &mut Reader<'_>) -> Checked<Flat> {
        self.walk(reader, 1, 1, &mut |_, _| Ok(()))
    }

    /// Read a scalar type.
    pub fn scalar(self, reader: &mut Reader<'_>) -> Checked<Scalar> {
        let flat = self.read(reader)?;
        flat.scalar.ok_or(reader.fault(Why::Type))
    }

    /// Read a type that was read before, and visit its scalars.
    pub fn flatten(self, reader: &mut Reader<'_>, visit: Visit<'_>) -> Checked<()> {
        self.walk(reader, 1, 1, visit).map(|_| ())
    }

    fn walk(self, reader: &mut Reader<'_>, depth: u8, repeat: u16, visit: Visit<'_>) -> Checked<Flat> {
        reader.need(depth <= DEPTH_MAX, Why::Type)?;
        let flat = match reader.u8()? {
            LIST => self.list(reader, depth, visit)?,
            RECORD => self.record(reader, depth, repeat, visit)?,
            tag => {
                let scalar = self.tagged(reader, tag)?;
                visit(scalar, repeat)?;
                Flat { size: 1, scalar: Some(scalar), element: true }
            }
        };
        reader.need(flat.size <= FLAT_SLOTS_MAX, Why::Type)?;
        Ok(flat)
    }

    fn tagged(self, reader: &mut Reader<'_>, tag: u8) -> Checked<Scalar> {
        let mut scalar = match tag {
            BOOL => Scalar::of(ValueType::Bool, 0),
            FLOAT => Scalar::of(ValueType::Float, 0),
            TEXT => Scalar::of(ValueType::Text, self.text_limit(reader)?),
            ENUM => Scalar::below(members(reader)?),
            PIN => {
                reader.below(2, Why::Unknown)?;
                Scalar::of(ValueType::Int, 0)
            }
            _ => Scalar::of(ValueType::Int, 0),
        };
        reader.need(tag <= PIN, Why::Unknown)?;
        scalar.pin = tag == PIN;
        scalar.bounded = tag != BOOL && tag < TEXT;
        Ok(scalar)
    }

    fn text_limit(self, reader: &mut Reader<'_>) -> Checked<u16> {
        let limit = reader.u16()?;
        reader.need(limit >= 1 && limit <= text_bytes_max(self.profile), Why::Type)?;
        Ok(limit)
    }

    fn list(self, reader: &mut Reader<'_>, depth: u8, visit: Visit<'_>) -> Checked<Flat> {
        let capacity = reader.u16()?;
        visit(Scalar::below(u32::from(capacity) + 1), 1)?;
        let element = self.walk(reader, depth + 1, capacity, visit)?;
        reader.need(element.element && capacity > 0, Why::Type)?;
        // An element has at most 4,096 slots and a capacity 16 bits: the product fits.
        Ok(Flat { size: 1 + u32::from(capacity) * element.size, scalar: None, element: false })
    }

    fn record(self, reader: &mut Reader<'_>, depth: u8, repeat: u16, visit: Visit<'_>) -> Checked<Flat> {
        reader.name()?;
        let count = reader.u8()?;
        reader.need(count > 0, Why::Type)?;
        let (start, mut size, mut scalars) = (*reader, 0, true);
        for _ in 0..count {
            reader.name()?;
            let field = self.walk(reader, depth + 1, repeat, visit)?;
            size += field.size;
            scalars &= field.scalar.is_some();
        }
        unique(start, usize::from(count), true, &skip_field)?;
        Ok(Flat { size, scalar: None, element: scalars })
    }
}

/// Read the names of an enum and return how many there are.
fn members(reader: &mut Reader<'_>) -> Checked<u32> {
    reader.name()?;
    let count = reader.u8()?;
    let start = *reader;
    for _ in 0..count {
        reader.name()?;
    }
    reader.need(count > 0, Why::Type)?;
    unique(start, usize::from(count), true, &Reader::name)?;
    Ok(u32::from(count))
}

/// Skip a type that was read before.
pub(crate) fn skip_type(reader: &mut Reader<'_>) -> Checked<()> {
    match reader.u8()? {
        TEXT => reader.take(2).map(|_| ()),
        PIN => reader.take(1).map(|_| ()),
        LIST => {
            reader.take(2)?;
            skip_type(reader)
        }
        tag @ (ENUM | RECORD) => {
            reader.name()?;
            for _ in 0..reader.u8()? {
                reader.name()?;
                if tag == RECORD {
                    skip_type(reader)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Read the name of an entry that goes on with its type, and skip the type.
pub(crate) fn skip_field<'a>(reader: &mut Reader<'a>) -> Checked<&'a [u8]> {
    let name = reader.name()?;
    skip_type(reader)?;
    Ok(name)
}

/// Read one value in its one form and return it as a word; a text as a handle into the program.
pub(crate) fn read_value(reader: &mut Reader<'_>, scalar: Scalar) -> Checked<u64> {
    match scalar.slot.value_type {
        ValueType::Bool => reader.flag().map(u64::from),
        ValueType::Int => {
            let word = reader.u64()?;
            reader.need(scalar.takes(word as i64), Why::Value)?;
            Ok(word)
        }
        ValueType::Float => {
            let word = reader.u64()?;
            reader.need(!f64::from_bits(word).is_nan() || word == NAN_BITS, Why::Value)?;
            Ok(word)
        }
        ValueType::Text => {
            let size = reader.u16()?;
            let offset = reader.position;
            let right = is_utf8(reader.take(usize::from(size))?) && size <= scalar.slot.size_bytes_max;
            reader.need(right, Why::Text)?;
            Ok(Handle::new(Space::Program, offset, usize::from(size)).word())
        }
    }
}
