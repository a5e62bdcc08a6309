//! The record: head, then for each part its key, its length and its values.

use eyeflow_slots::crc::Crc;
use eyeflow_svm::{Instance, Part, PartKind, Program, Verified};

use crate::value::{number, put, put_value, take, take_value};

const FORMAT: u8 = 1;
const TOLD: u8 = 1;
/// Format, flags, two zeros, the time of the last event, which `digest` leaves out.
const HEAD_BYTES: usize = 4;
const TIME_BYTES: usize = 8;
const KEY_BYTES: usize = 4;
const LENGTH_BYTES: usize = 2;

/// The clock of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// The time of its last event, in microseconds.
    pub last_us: i64,
    /// Whether that is the time since 1970, as a host told it, or only since the start of a board.
    pub told: bool,
}

/// What a record gave back beside the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The clock.
    pub clock: Clock,
    /// The parameters that were set, one bit for each index.
    pub params_set: u64,
}

/// The longest record of a program whose parameters and state take so many words of 8 bytes, texts included.
pub const fn record_bytes_max(words: usize) -> usize {
    // Nothing is longer for its memory than a variable of one number.
    HEAD_BYTES + TIME_BYTES + words * (KEY_BYTES + LENGTH_BYTES + 8)
}

/// Write the record of a program; gives its length, or nothing when it does not fit.
///
/// Of the parameters only those in `params_set` are written: the others follow the defaults of the next version.
pub fn save(
    verified: &Verified<'_>,
    instance: &Instance<'_>,
    clock: Clock,
    params_set: u64,
    out: &mut [u8],
) -> Option<usize> {
    let program = verified.program();
    let shape = shape_of(program);
    let (mut at, mut fits) = (0, true);
    fits &= put(out, &mut at, &[FORMAT, if clock.told { TOLD } else { 0 }, 0, 0]);
    fits &= put(out, &mut at, &clock.last_us.to_le_bytes());
    program.durable(&mut |part| {
        let Some(key) = key_of(&part, shape).filter(|_| is_set(&part, params_set)) else {
            return;
        };
        fits &= put(out, &mut at, &key.to_le_bytes());
        let mut length_at = at;
        at += LENGTH_BYTES;
        let start = at;
        for slot in part.base..part.base + part.size {
            fits &= instance.get(program, slot).is_some_and(|value| put_value(out, &mut at, value));
        }
        let length = (at - start) as u16;
        fits &= put(out, &mut length_at, &length.to_le_bytes());
    });
    fits.then_some(at)
}

/// What a record says, apart from the time: equal for equal parameters and state.
pub fn digest(record: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(record.get(..HEAD_BYTES).unwrap_or(&[]));
    crc.update(record.get(HEAD_BYTES + TIME_BYTES..).unwrap_or(&[]));
    crc.value()
}

/// Put what a record has in common with a program into its instance. Nothing, and nothing changed, when it is no record.
pub fn restore(verified: &Verified<'_>, instance: &mut Instance<'_>, record: &[u8]) -> Option<Restored> {
    let mut entries = record;
    let head = take(&mut entries, HEAD_BYTES)?;
    let clock = Clock { last_us: number(take(&mut entries, TIME_BYTES)?) as i64, told: head.get(1)? & TOLD != 0 };
    if head.first() != Some(&FORMAT) || clock.last_us < 0 {
        return None;
    }
    let program = verified.program();
    let shape = shape_of(program);
    let mut params_set = 0;
    program.durable(&mut |part| {
        let values = key_of(&part, shape).and_then(|key| find(entries, key));
        if let Some(values) = values {
            put_back(program, instance, &part, values, &mut params_set);
        }
    });
    Some(Restored { clock, params_set })
}

fn put_back(
    program: &Program<'_>,
    instance: &mut Instance<'_>,
    part: &Part<'_>,
    mut values: &[u8],
    params_set: &mut u64,
) {
    for slot in part.base..part.base + part.size {
        let value_type = program.slot(slot).map(|slot| slot.value_type);
        let Some(value) = value_type.and_then(|value_type| take_value(&mut values, value_type)) else {
            return;
        };
        match part.kind {
            // Its bounds may be narrower in this version: then it has its default.
            PartKind::Param(index) => {
                let taken = instance.set_param(program, usize::from(index), value).is_ok();
                *params_set |= u64::from(taken) << (index & 63);
            }
            // A value that cannot stand there is of another variable with the same key: the initial one stays.
            _ => drop(instance.set(program, slot, value)),
        }
    }
}

/// The values under a key.
fn find(mut entries: &[u8], wanted: u32) -> Option<&[u8]> {
    loop {
        let key = number(take(&mut entries, KEY_BYTES)?) as u32;
        let length = number(take(&mut entries, LENGTH_BYTES)?) as usize;
        let values = take(&mut entries, length)?;
        if key == wanted {
            return Some(values);
        }
    }
}

fn is_set(part: &Part<'_>, params_set: u64) -> bool {
    match part.kind {
        PartKind::Param(index) => params_set >> (index & 63) & 1 == 1,
        _ => true,
    }
}

/// The key of a part; nothing for what is not kept.
fn key_of(part: &Part<'_>, shape: u32) -> Option<u32> {
    let mut crc = Crc::new();
    match part.kind {
        PartKind::Param(_) => crc.update(b"p"),
        PartKind::Variable => crc.update(b"s"),
        PartKind::Timer(index) => crc.update(&(shape ^ u32::from(index)).to_le_bytes()),
        PartKind::Hold | PartKind::Window => return None,
    }
    crc.update(&[part.name.len() as u8]);
    crc.update(part.name);
    crc.update(part.type_bytes);
    Some(crc.value())
}

fn shape_of(program: &Program<'_>) -> u32 {
    eyeflow_slots::crc::crc32(program.shape())
}
