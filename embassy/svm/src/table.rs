//! The instruction-set table packed into words at compile time: what the verifier and the machine look up.

use crate::isa::{Op, OpInfo, Operand, TimerKind};
use crate::value::ValueType;

const CODES: usize = Op::TextD as usize + 1;
/// The letter X: any one type.
const ANY: u32 = 4;

/// What an instruction is: bits 0-6 cost, 9 operand a, 10 operand b, 11-12 number of pops, 13-21
/// their letters bottom to top, 22-23 number of pushes, 24-29 their letters. Zero: no such instruction.
#[derive(Clone, Copy)]
pub(crate) struct Entry(u32);

static OPS: [u32; CODES] = pack_all();

const fn pack_all() -> [u32; CODES] {
    let mut packed = [0; CODES];
    let mut code = 0;
    let mut rest: &mut [u32] = &mut packed;
    while let [first, others @ ..] = rest {
        if let Some(op) = Op::from_code(code) {
            *first = pack(&op.info());
        }
        rest = others;
        code += 1;
    }
    packed
}

const fn pack(info: &OpInfo) -> u32 {
    let a = !matches!(info.a, Operand::None) as u32;
    let b = !matches!(info.b, Operand::None) as u32;
    let (pops, pop_letters) = letters(info.pops.as_bytes());
    let (pushes, push_letters) = letters(info.pushes.as_bytes());
    info.cost as u32 | a << 9 | b << 10 | pops << 11 | pop_letters << 13 | pushes << 22 | push_letters << 24
}

/// Number and letters of a signature; of one in [brackets] what is X. Nothing of arguments and timers.
const fn letters(text: &[u8]) -> (u32, u32) {
    let (mut count, mut packed, mut rest) = (0, 0, text);
    while let [letter, others @ ..] = rest {
        let code = match *letter {
            b'B' => 0,
            b'I' => 1,
            b'F' => 2,
            b'T' => 3,
            b'X' => ANY,
            b'[' | b']' => {
                rest = others;
                continue;
            }
            _ => return (0, 0),
        };
        packed |= code << (3 * count);
        count += 1;
        rest = others;
    }
    (count, packed)
}

impl Entry {
    /// The entry of an opcode.
    pub fn of(opcode: u8) -> Self {
        Self(OPS.get(usize::from(opcode)).copied().unwrap_or(0))
    }

    pub const fn cost(self) -> u32 {
        self.0 & 0x7F
    }

    pub const fn has_a(self) -> bool {
        self.0 & 1 << 9 != 0
    }

    pub const fn has_b(self) -> bool {
        self.0 & 1 << 10 != 0
    }

    pub const fn pops(self) -> u32 {
        self.0 >> 11 & 3
    }

    /// The letter of a pop, 0 the bottom one.
    pub const fn pop(self, index: u32) -> Letter {
        Letter(self.0 >> (13 + 3 * index) & 7)
    }

    pub const fn pushes(self) -> u32 {
        self.0 >> 22 & 3
    }

    pub const fn push(self, index: u32) -> Letter {
        Letter(self.0 >> (24 + 3 * index) & 7)
    }
}

/// A letter of a signature.
#[derive(Clone, Copy)]
pub(crate) struct Letter(u32);

impl Letter {
    /// Its type; X is `any`.
    pub fn of(self, any: ValueType) -> ValueType {
        if self.0 == ANY { any } else { ValueType::of(self.0 as u8) }
    }
}

const KINDS: usize = 16;

/// A kind of timer: bits 0-1 type of the condition or sample, 2 a span above it, 3-4 type of the result, 5 a window,
/// 6 known.
#[derive(Clone, Copy)]
pub(crate) struct TimerEntry(u8);

static TIMERS: [u8; KINDS] = pack_timers();

const fn pack_timers() -> [u8; KINDS] {
    let mut packed = [0; KINDS];
    let mut code = 0;
    let mut rest: &mut [u8] = &mut packed;
    while let [first, others @ ..] = rest {
        if let Some(kind) = TimerKind::from_code(code) {
            let info = kind.info();
            let (count, pops) = letters(info.pops.as_bytes());
            let (_, pushes) = letters(info.pushes.as_bytes());
            let span = (count == 2) as u32;
            *first = (pops & 3 | span << 2 | (pushes & 3) << 3 | (info.window as u32) << 5 | 1 << 6) as u8;
        }
        rest = others;
        code += 1;
    }
    packed
}

impl TimerEntry {
    /// The entry of a kind.
    pub fn of(kind: u16) -> Self {
        Self(TIMERS.get(usize::from(kind)).copied().unwrap_or(0))
    }

    pub const fn is_known(self) -> bool {
        self.0 != 0
    }

    pub const fn operand(self) -> ValueType {
        ValueType::of(self.0)
    }

    pub const fn has_span(self) -> bool {
        self.0 & 4 != 0
    }

    pub const fn result(self) -> ValueType {
        ValueType::of(self.0 >> 3)
    }

    pub const fn window(self) -> bool {
        self.0 & 32 != 0
    }
}
