//! Text: UTF-8, and how numbers are written.

use crate::float::{INFINITY, ONE, SIGN, multiply, whole};
use crate::numbers::is_small;
use crate::value::is_nan;

/// Operand of TEXT_F that drops zeros at the end.
pub(crate) const DECIMALS_SHORTEST: u8 = 255;
/// Most decimals of TEXT_F.
pub(crate) const DECIMALS_MAX: u8 = 6;
const NUMBER_BYTES_MAX: usize = 32;
/// 10.0
const TEN: u64 = 0x4024_0000_0000_0000;

/// Whether the bytes are UTF-8: no overlong form, no surrogate, nothing beyond U+10FFFF.
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [lead, others @ ..] = rest {
        rest = others;
        // The range of the second byte and the number of continuation bytes, by the lead byte (Unicode, table 3-7).
        let (low, high, more) = match lead {
            0..=0x7F => continue,
            0xC2..=0xDF => (0x80, 0xBF, 1),
            0xE0 => (0xA0, 0xBF, 2),
            0xED => (0x80, 0x9F, 2),
            0xE1..=0xEF => (0x80, 0xBF, 2),
            0xF0 => (0x90, 0xBF, 3),
            0xF1..=0xF3 => (0x80, 0xBF, 3),
            0xF4 => (0x80, 0x8F, 3),
            _ => return false,
        };
        let (mut low, mut high) = (low, high);
        for _ in 0..more {
            let [next, others @ ..] = rest else { return false };
            if !(low..=high).contains(next) {
                return false;
            }
            rest = others;
            (low, high) = (0x80, 0xBF);
        }
    }
    true
}

/// Whether a byte continues a character.
fn continues(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// How many bytes are left of a text that is cut after the last whole character that ends at or before `most`.
pub(crate) fn cut(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let mut size = most;
    while size > 0 && text.get(size).is_some_and(|byte| continues(*byte)) {
        size -= 1;
    }
    size
}

/// Number of Unicode scalar values.
pub(crate) fn length(text: &[u8]) -> i64 {
    text.iter().filter(|byte| !continues(**byte)).count() as i64
}

/// Whether `whole` contains `part`.
pub(crate) fn contains(whole: &[u8], part: &[u8]) -> bool {
    (0..=whole.len()).any(|start| whole.get(start..).is_some_and(|rest| rest.starts_with(part)))
}

/// A number as text, written from its end to its start.
pub(crate) struct Written {
    bytes: [u8; NUMBER_BYTES_MAX],
    start: usize,
}

impl Written {
    const fn new() -> Self {
        Self { bytes: [0; NUMBER_BYTES_MAX], start: NUMBER_BYTES_MAX }
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or(&[])
    }

    fn byte(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }

    fn text(&mut self, text: &[u8]) {
        text.iter().rev().for_each(|byte| self.byte(*byte));
    }

    fn digit(&mut self, value: u64) -> u64 {
        self.byte(b'0' + (value % 10) as u8);
        value / 10
    }

    fn digits(&mut self, value: u64) {
        let mut rest = self.digit(value);
        while rest != 0 {
            rest = self.digit(rest);
        }
    }

    fn sign(&mut self, negative: bool) {
        if negative {
            self.byte(b'-');
        }
    }
}

/// An int in decimal.
pub(crate) fn of_int(value: i64) -> Written {
    let mut out = Written::new();
    out.digits(value.unsigned_abs());
    out.sign(value < 0);
    out
}

/// The units of a duration from the smallest: how many of the one before make it.
const UNITS: [(u8, &[u8]); 6] = [(1, b"us"), (0, b"ms"), (0, b"s"), (60, b"min"), (60, b"h"), (24, b"d")];
const THOUSAND: u64 = 1_000;

/// A duration in the largest unit in which it is a whole number.
pub(crate) fn of_duration(value: i64) -> Written {
    let (mut size, mut name): (u64, &[u8]) = (value.unsigned_abs(), b"s");
    for (times, unit) in UNITS {
        let times = if times == 0 { THOUSAND } else { u64::from(times) };
        if size == 0 || size % times != 0 {
            break;
        }
        size /= times;
        name = unit;
    }
    let mut out = Written::new();
    out.text(name);
    out.digits(size);
    out.sign(value < 0);
    out
}

/// A float with 0 to 6 `decimals`, or 255: up to 6, zeros at the end dropped, the first decimal kept.
pub(crate) fn of_float(word: u64, decimals: u8) -> Written {
    let mut out = Written::new();
    let count = if decimals == DECIMALS_SHORTEST { DECIMALS_MAX } else { decimals };
    let size = word & !SIGN;
    let mut scale = ONE;
    for _ in 0..count {
        scale = multiply(scale, TEN);
    }
    let scaled = multiply(scale, size);
    let mut negative = word & SIGN != 0;
    if is_nan(word) {
        out.text(b"nan");
        negative = false;
    } else if size == INFINITY {
        out.text(b"inf");
    } else if !is_small(scaled) {
        out.text(&[b'8' - count]); // 18 - count: at most 6 decimals leave a 1 in front
        out.text(b">9.2e1");
    } else {
        let rounded = whole(scaled, true);
        let digits = fraction(&mut out, rounded, count, decimals == DECIMALS_SHORTEST);
        out.digits(digits);
        negative &= rounded > 0;
    }
    out.sign(negative);
    out
}

/// Write the last `count` digits behind a point and return the digits before it.
fn fraction(out: &mut Written, value: u64, count: u8, shortest: bool) -> u64 {
    let (mut rest, mut left) = (value, count);
    while shortest && left > 1 && rest % 10 == 0 {
        rest /= 10;
        left -= 1;
    }
    if left == 0 {
        return rest;
    }
    for _ in 0..left {
        rest = out.digit(rest);
    }
    out.byte(b'.');
    rest
}
