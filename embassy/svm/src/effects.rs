//! What each instruction pops and pushes, and which of its operands are right.

use crate::isa::Op;
use crate::program::{FALLBACK, SiteKind, Word};
use crate::refusal::{Checked, Why};
use crate::table::{Entry, TimerEntry};
use crate::text::{DECIMALS_MAX, DECIMALS_SHORTEST};
use crate::types::text_bytes_max;
use crate::value::ValueType;
use crate::verify::Pass;

const TEXT_I: u8 = Op::TextI as u8;
const TEXT_F: u8 = Op::TextF as u8;
const TEXT_D: u8 = Op::TextD as u8;

/// How many bytes of text an instruction of a fixed signature makes at most.
pub(crate) const fn scratch_bytes(opcode: u8) -> u32 {
    match opcode {
        TEXT_I => 20,
        TEXT_F => 27,
        TEXT_D => 22,
        _ => 0,
    }
}

impl<const TYPES: usize, const BLOCKS: usize> Pass<'_, '_, TYPES, BLOCKS> {
    /// Check the operands of an instruction; pop and push what it does.
    pub fn effect(&mut self, word: Word, entry: Entry) -> Checked<()> {
        let Some(op) = Op::from_code(word.opcode) else {
            return Err(self.fault(Why::Unknown));
        };
        match op {
            Op::Load => {
                let slot = self.slot(usize::from(word.b), false)?;
                self.push(slot.value_type)
            }
            Op::Store => {
                let slot = self.slot(usize::from(word.b), true)?;
                self.pop(slot.value_type)
            }
            Op::LoadAt | Op::StoreAt | Op::Grow => self.array_effect(op, word),
            Op::Const => {
                let constant = self.program.constant(word.b).ok_or(self.fault(Why::Operand))?;
                self.push(constant.0)
            }
            Op::Branch => self.branch(word),
            Op::Jump => self.jump(word),
            Op::Loop => self.loop_(word),
            Op::EndLoop => self.end_loop(word),
            Op::LoopIndex => self.loop_index(word),
            Op::Return => self.return_(),
            Op::LoadResource => self.site_effect(word, SiteKind::Read),
            Op::CallAction => self.site_effect(word, SiteKind::Act),
            Op::LlmCall => self.site_effect(word, SiteKind::Llm),
            Op::EmitEvent => self.site_effect(word, SiteKind::Emit),
            Op::Eval | Op::Reset => self.timer_effect(op, word),
            _ => {
                self.need(self.operands_are_right(op, word), Why::Operand)?;
                self.simple(entry)
            }
        }
    }

    fn operands_are_right(&self, op: Op, word: Word) -> bool {
        match op {
            Op::PushBool => word.a <= 1,
            Op::TextF => word.a <= DECIMALS_MAX || word.a == DECIMALS_SHORTEST,
            Op::Concat => word.b <= text_bytes_max(self.program.profile),
            Op::TextEnum => {
                let text = |index| self.program.constant(index).is_some_and(|found| found.0 == ValueType::Text);
                word.a > 0 && (0..u16::from(word.a)).all(|index| word.b.checked_add(index).is_some_and(text))
            }
            _ => true,
        }
    }

    fn array_effect(&mut self, op: Op, word: Word) -> Checked<()> {
        let array = self.program.array(word.b).ok_or(self.fault(Why::Operand))?;
        let (base, store) = (usize::from(array.base), op != Op::LoadAt);
        let element = self.slot(base, store)?.value_type;
        self.slot((base + usize::from(array.capacity)).wrapping_sub(1), store)?;
        self.slot(usize::from(array.length_slot), store)?;
        match op {
            Op::LoadAt => {
                self.pop(ValueType::Int)?;
                self.push(element)
            }
            Op::StoreAt => {
                self.pop(ValueType::Int)?;
                self.pop(element)
            }
            _ => self.push(ValueType::Int),
        }
    }

    /// Pop the arguments of a site, the last the top of the stack, and below them its fallback; push its result.
    fn site_effect(&mut self, word: Word, kind: SiteKind) -> Checked<()> {
        let site = self.program.site(word.b).ok_or(self.fault(Why::Operand))?;
        self.need(site.kind == kind, Why::Operand)?;
        let bottom = self.depth.checked_sub(usize::from(site.args)).ok_or(self.fault(Why::Stack))?;
        self.need(bottom >= self.frames.base(), Why::Stack)?;
        for (index, scalar) in (bottom..).zip(site.arg_types()) {
            self.need(self.types.get(index) == scalar.slot.value_type, Why::Stack)?;
        }
        self.depth = bottom;
        let Some(result) = site.result() else {
            return Ok(());
        };
        if site.on_failure == FALLBACK {
            self.pop(result.slot.value_type)?;
        }
        self.push(result.slot.value_type)
    }

    fn timer_effect(&mut self, op: Op, word: Word) -> Checked<()> {
        let timer = self.program.timer(word.b).ok_or(self.fault(Why::Operand))?;
        let entry = TimerEntry::of(timer.kind).ok_or(self.fault(Why::Operand))?;
        if op == Op::Reset {
            return Ok(());
        }
        if entry.has_span() {
            self.pop(ValueType::Int)?;
        }
        self.pop(entry.operand())?;
        self.push(entry.result())
    }
}
