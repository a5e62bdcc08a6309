//! The instructions that only turn numbers into a number: docs/svm.md, Numbers.

use crate::float::{self, SIGN, Way, integral};
use crate::isa::{CostPlus, Op, Trap, code};
use crate::numbers::{EQUAL, GREATER, LESS, order_float, to_int};
use crate::value::{NAN_BITS, canonical};

const SHIFT_MAX: u64 = 63;

/// What an instruction costs more than 1.
pub(crate) const fn more(op: Op) -> u32 {
    op.info().cost as u32 - 1
}

const fn exact(value: Option<i64>) -> Result<u64, Trap> {
    match value {
        Some(value) => Ok(value as u64),
        None => Err(Trap::IntOverflow),
    }
}

/// The result of an instruction from ADD_I to OR; 1 of its cost is paid.
#[inline(always)]
pub(crate) fn of_two(opcode: u8, lower: u64, top: u64, fuel: &mut u32) -> Result<u64, Trap> {
    let (one, two) = (lower as i64, top as i64);
    Ok(match opcode {
        code::ADD_I => return exact(one.checked_add(two)),
        code::SUB_I => return exact(one.checked_sub(two)),
        code::MUL_I => return scale(opcode, one, two),
        code::DIV_I | code::MOD_I => {
            *fuel = fuel.wrapping_add(const { more(Op::DivI) });
            return scale(opcode, one, two);
        }
        code::AND_I | code::AND => lower & top,
        code::OR_I | code::OR => lower | top,
        code::XOR_I => lower ^ top,
        code::SHL_I | code::SHR_I if top > SHIFT_MAX => return Err(Trap::ShiftRange),
        code::SHL_I => lower << (top & SHIFT_MAX),
        code::SHR_I => (one >> (top & SHIFT_MAX)) as u64,
        code::ADD_F => float::add(lower, top),
        code::SUB_F => float::add(lower, top ^ SIGN),
        code::MUL_F => float::multiply(lower, top),
        code::DIV_F => {
            *fuel = fuel.wrapping_add(const { more(Op::DivF) });
            float::divide(lower, top)
        }
        code::EQ_I | code::EQ_B => u64::from(lower == top),
        code::LT_I => u64::from(one < two),
        code::LE_I => u64::from(one <= two),
        code::GT_I => u64::from(one > two),
        code::GE_I => u64::from(one >= two),
        code::MIN_I => (if two < one { two } else { one }) as u64,
        code::MAX_I => (if two > one { two } else { one }) as u64,
        _ => compare(opcode, lower, top),
    })
}

/// The result of an instruction from NEG_I to F_TO_I; 1 of its cost is paid.
#[inline(always)]
pub(crate) fn of_one(opcode: u8, word: u64, fuel: &mut u32) -> Result<u64, Trap> {
    let value = word as i64;
    Ok(match opcode {
        code::NEG_I => return exact(0_i64.checked_sub(value)),
        code::ABS_I => return exact(value.checked_abs()),
        code::NOT => word ^ 1,
        code::NEG_F => canonical(word ^ SIGN),
        code::ABS_F => word & !SIGN,
        code::FLOOR_F => integral(word, if value < 0 { Way::Up } else { Way::Down }),
        code::CEIL_F => integral(word, if value < 0 { Way::Down } else { Way::Up }),
        code::ROUND_F => integral(word, Way::Half),
        code::SQRT_F => {
            *fuel = fuel.wrapping_add(const { more(Op::SqrtF) });
            float::root(word)
        }
        code::I_TO_F => float::of_int(value),
        _ => return to_int(word),
    })
}

/// Every instruction up to F_TO_I costs 1, but for those that say so above.
const _: () = {
    let mut code = code::LOAD;
    while code <= code::F_TO_I {
        if let Some(op) = Op::from_code(code) {
            let paid = match op {
                Op::DivI | Op::ModI => more(Op::DivI),
                Op::DivF => more(Op::DivF),
                Op::SqrtF => more(Op::SqrtF),
                _ => 0,
            };
            assert!(more(op) == paid && matches!(op.info().cost_plus, CostPlus::None));
        }
        code += 1;
    }
};

/// The order of two floats, as the instruction asks for it.
fn compare(opcode: u8, lower: u64, top: u64) -> u64 {
    let order = order_float(lower, top);
    let wanted = match opcode {
        code::EQ_F => EQUAL,
        code::LT_F => LESS,
        code::LE_F => LESS | EQUAL,
        code::GT_F => GREATER,
        code::GE_F => GREATER | EQUAL,
        _ if order == 0 => return NAN_BITS,
        code::MIN_F if order == GREATER => return top,
        code::MAX_F if order == LESS => return top,
        _ => return lower,
    };
    u64::from(order & wanted != 0)
}

/// MUL_I, DIV_I and MOD_I, on magnitudes.
#[inline(never)]
fn scale(opcode: u8, one: i64, two: i64) -> Result<u64, Trap> {
    let (size, other) = (one.unsigned_abs(), two.unsigned_abs());
    let mut negative = (one < 0) != (two < 0);
    let size = match opcode {
        code::MUL_I => product(size, other)?,
        code::DIV_I => size.checked_div(other).ok_or(Trap::DivByZero)?,
        _ => {
            negative = one < 0;
            size.checked_rem(other).ok_or(Trap::DivByZero)?
        }
    };
    if size > i64::MAX as u64 + u64::from(negative) {
        return Err(Trap::IntOverflow);
    }
    Ok(if negative { size.wrapping_neg() } else { size })
}

/// The product of two magnitudes of at most 2^63, of 32-bit halves; traps INT_OVERFLOW when it does not fit 64 bits.
fn product(one: u64, two: u64) -> Result<u64, Trap> {
    let (small, large) = if one < two { (one, two) } else { (two, one) };
    if small >> 32 != 0 {
        return Err(Trap::IntOverflow);
    }
    let low = small * (large & 0xFFFF_FFFF);
    let high = small * (large >> 32) + (low >> 32);
    if high >> 32 != 0 {
        return Err(Trap::IntOverflow);
    }
    Ok((high << 32) | low & 0xFFFF_FFFF)
}
