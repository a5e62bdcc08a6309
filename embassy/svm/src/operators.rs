//! The instructions that only turn numbers into a number: docs/svm.md, Numbers.

use crate::isa::{Op, Trap};
use crate::numbers::{ceil, floor, magnitude, round, sqrt, to_int};

const SHIFT_MAX: u64 = 63;

/// The result of an instruction with two int operands; none when it is not one of those.
pub(crate) fn int_pair(op: Op, lower: i64, top: i64) -> Option<Result<u64, Trap>> {
    let exact = |value: Option<i64>| value.map(|value| value as u64).ok_or(Trap::IntOverflow);
    let total = |value: i64| Ok(value as u64);
    let truth = |value: bool| Ok(u64::from(value));
    Some(match op {
        Op::AddI => exact(lower.checked_add(top)),
        Op::SubI => exact(lower.checked_sub(top)),
        Op::MulI => exact(lower.checked_mul(top)),
        Op::DivI if top == 0 => Err(Trap::DivByZero),
        Op::DivI => exact(lower.checked_div(top)),
        Op::ModI if top == 0 => Err(Trap::DivByZero),
        Op::ModI => total(lower.checked_rem(top).unwrap_or(0)),
        Op::MinI => total(lower.min(top)),
        Op::MaxI => total(lower.max(top)),
        Op::AndI => total(lower & top),
        Op::OrI => total(lower | top),
        Op::XorI => total(lower ^ top),
        Op::ShlI | Op::ShrI if top as u64 > SHIFT_MAX => Err(Trap::ShiftRange),
        Op::ShlI => total(lower << (top & 63)),
        Op::ShrI => total(lower >> (top & 63)),
        Op::EqI | Op::EqB => truth(lower == top),
        Op::LtI => truth(lower < top),
        Op::LeI => truth(lower <= top),
        Op::GtI => truth(lower > top),
        Op::GeI => truth(lower >= top),
        Op::And => total(lower & top),
        Op::Or => total(lower | top),
        _ => return None,
    })
}

/// The result of an instruction with two float operands; none when it is not one of those.
pub(crate) fn float_pair(op: Op, lower: f64, top: f64) -> Option<u64> {
    let nan = lower.is_nan() || top.is_nan();
    let number = match op {
        Op::AddF => lower + top,
        Op::SubF => lower - top,
        Op::MulF => lower * top,
        Op::DivF => lower / top,
        Op::MinF | Op::MaxF if nan => f64::NAN,
        Op::MinF => {
            if top < lower {
                top
            } else {
                lower
            }
        }
        Op::MaxF => {
            if top > lower {
                top
            } else {
                lower
            }
        }
        Op::EqF => return Some(u64::from(lower == top)),
        Op::LtF => return Some(u64::from(lower < top)),
        Op::LeF => return Some(u64::from(lower <= top)),
        Op::GtF => return Some(u64::from(lower > top)),
        Op::GeF => return Some(u64::from(lower >= top)),
        _ => return None,
    };
    Some(number.to_bits())
}

/// The result of an instruction with one number or bool as operand; none when it is not one of those.
pub(crate) fn single(op: Op, word: u64) -> Option<Result<u64, Trap>> {
    let exact = |value: Option<i64>| value.map(|value| value as u64).ok_or(Trap::IntOverflow);
    let (int, float) = (word as i64, f64::from_bits(word));
    let number = match op {
        Op::NegI => return Some(exact(int.checked_neg())),
        Op::AbsI => return Some(exact(int.checked_abs())),
        Op::Not => return Some(Ok(word ^ 1)),
        Op::FToI => return Some(to_int(float).map(|value| value as u64)),
        Op::IToF => int as f64,
        Op::NegF => -float,
        Op::AbsF => magnitude(float),
        Op::FloorF => floor(float),
        Op::CeilF => ceil(float),
        Op::RoundF => round(float),
        Op::SqrtF => sqrt(float),
        _ => return None,
    };
    Some(Ok(number.to_bits()))
}
