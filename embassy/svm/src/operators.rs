//! The instructions that only turn numbers into a number: docs/svm.md, Numbers.

use crate::isa::{Op, Trap};
use crate::numbers::{
    EQUAL, GREATER, LESS, ceil, floor, magnitude, order_float, order_int, round, signed, sqrt, to_int,
};
use crate::value::NAN_BITS;

const SHIFT_MAX: u64 = 63;

/// The result of an instruction that turns one or two numbers or bools into one; none when it is not one of those.
pub(crate) fn calculate(op: Op, lower: u64, top: u64) -> Option<Result<u64, Trap>> {
    let (one, two) = (f64::from_bits(lower), f64::from_bits(top));
    let number = match op {
        Op::AddF => one + two,
        Op::SubF => one - two,
        Op::MulF => one * two,
        Op::DivF => one / two,
        Op::IToF => top as i64 as f64,
        Op::NegF => -two,
        Op::AbsF => magnitude(two),
        Op::FloorF => floor(two),
        Op::CeilF => ceil(two),
        Op::RoundF => round(two),
        Op::SqrtF => sqrt(two),
        _ => return int(op, lower, top).or_else(|| compare(op, lower, top)),
    };
    Some(Ok(number.to_bits()))
}

fn int(op: Op, lower: u64, top: u64) -> Option<Result<u64, Trap>> {
    let (one, two) = (lower as i64, top as i64);
    let (size, other) = (one.unsigned_abs(), two.unsigned_abs());
    let negative = (one < 0) != (two < 0);
    let exact = |value: Option<i64>| value.map(|value| value as u64).ok_or(Trap::IntOverflow);
    Some(match op {
        Op::AddI => exact(one.checked_add(two)),
        Op::SubI => exact(one.checked_sub(two)),
        Op::NegI => exact(0_i64.checked_sub(two)),
        Op::AbsI => signed(other, false),
        Op::MulI => product(size, other).and_then(|size| signed(size, negative)),
        Op::DivI => size.checked_div(other).ok_or(Trap::DivByZero).and_then(|size| signed(size, negative)),
        Op::ModI => size.checked_rem(other).ok_or(Trap::DivByZero).and_then(|size| signed(size, one < 0)),
        Op::AndI | Op::And => Ok(lower & top),
        Op::OrI | Op::Or => Ok(lower | top),
        Op::XorI => Ok(lower ^ top),
        Op::Not => Ok(top ^ 1),
        Op::ShlI | Op::ShrI if top > SHIFT_MAX => Err(Trap::ShiftRange),
        Op::ShlI => Ok(lower << (top & SHIFT_MAX)),
        Op::ShrI => Ok((one >> (top & SHIFT_MAX)) as u64),
        Op::FToI => to_int(top),
        _ => return None,
    })
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

fn compare(op: Op, lower: u64, top: u64) -> Option<Result<u64, Trap>> {
    let float = matches!(op, Op::EqF | Op::LtF | Op::LeF | Op::GtF | Op::GeF | Op::MinF | Op::MaxF);
    let order = if float { order_float(lower, top) } else { order_int(lower as i64, top as i64) };
    let wanted = match op {
        Op::EqI | Op::EqF | Op::EqB => EQUAL,
        Op::LtI | Op::LtF => LESS,
        Op::LeI | Op::LeF => LESS | EQUAL,
        Op::GtI | Op::GtF => GREATER,
        Op::GeI | Op::GeF => GREATER | EQUAL,
        Op::MinI | Op::MinF => return Some(Ok(chosen(order, GREATER, lower, top))),
        Op::MaxI | Op::MaxF => return Some(Ok(chosen(order, LESS, lower, top))),
        _ => return None,
    };
    Some(Ok(u64::from(order & wanted != 0)))
}

/// The top when it is the one that `order` asks for, else the lower; NaN when there is no order.
fn chosen(order: u8, wanted: u8, lower: u64, top: u64) -> u64 {
    match order {
        0 => NAN_BITS,
        _ if order == wanted => top,
        _ => lower,
    }
}
