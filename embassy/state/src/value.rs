//! One value as bytes: a bool one, a number eight, a text its length and its bytes.

use eyeflow_svm::{Value, ValueType};

/// Write a value at `at` and go behind it; false when it does not fit.
pub fn put_value(out: &mut [u8], at: &mut usize, value: Value<'_>) -> bool {
    match value {
        Value::Bool(value) => put(out, at, &[u8::from(value)]),
        Value::Int(value) => put(out, at, &value.to_le_bytes()),
        Value::Float(value) => put(out, at, &value.to_bits().to_le_bytes()),
        // A text of an mcu program has at most 255 bytes.
        Value::Text(text) => put(out, at, &[text.len() as u8]) && put(out, at, text),
    }
}

/// Write bytes at `at` and go behind them; false when they do not fit.
#[inline(never)]
pub fn put(out: &mut [u8], at: &mut usize, bytes: &[u8]) -> bool {
    let start = *at;
    *at += bytes.len();
    match out.get_mut(start..*at) {
        Some(place) => {
            place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            true
        }
        None => false,
    }
}

/// Read a value of a type from the front of `bytes`; nothing when they are none.
pub fn take_value<'b>(bytes: &mut &'b [u8], value_type: ValueType) -> Option<Value<'b>> {
    Some(match value_type {
        ValueType::Bool => Value::Bool(take(bytes, 1)?.first()? & 1 == 1),
        ValueType::Int => Value::Int(number(take(bytes, 8)?) as i64),
        ValueType::Float => Value::Float(f64::from_bits(number(take(bytes, 8)?))),
        ValueType::Text => {
            let length = *take(bytes, 1)?.first()?;
            Value::Text(take(bytes, usize::from(length))?)
        }
    })
}

/// Take so many bytes off the front.
pub(crate) fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (found, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(found)
}

/// A little-endian number.
#[inline(never)]
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
