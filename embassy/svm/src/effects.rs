//! What each instruction costs, pops and pushes, and which of its operands are right.

use crate::control::Tally;
use crate::isa::Op;
use crate::program::{FALLBACK, SiteKind, Word};
use crate::refusal::Why;
use crate::table::{Entry, TimerEntry};
use crate::text::{DECIMALS_MAX, DECIMALS_SHORTEST};
use crate::types::text_bytes_max;
use crate::value::ValueType;
use crate::verify::Pass;

const TEXT_I_BYTES: u32 = 20;
const TEXT_F_BYTES: u32 = 27;
const TEXT_D_BYTES: u32 = 22;
const ARRAYS: usize = 6;
const TIMERS: usize = 7;

impl<const TYPES: usize, const BLOCKS: usize> Pass<'_, '_, TYPES, BLOCKS> {
    /// Count an instruction, check its operands, pop and push what it does.
    pub fn effect(&mut self, word: Word, entry: Entry) {
        let Some(op) = Op::from_code(word.opcode) else {
            return;
        };
        let slot = usize::from(word.b);
        match op {
            Op::LoadResource | Op::CallAction | Op::LlmCall | Op::EmitEvent => return self.site(op, word, entry),
            Op::Eval | Op::Reset => return self.timer(op, word, entry),
            _ => self.count(&cost(op, word, entry)),
        }
        match op {
            Op::Load => {
                let value_type = self.slot(slot, false);
                self.push(value_type);
            }
            Op::Store => {
                let value_type = self.slot(slot, true);
                self.pop(value_type);
            }
            Op::LoadAt | Op::StoreAt | Op::Grow => self.array(op, word),
            Op::Const => {
                self.need(word.b < self.program.count(5), Why::Operand);
                self.push(self.program.constant_type(usize::from(word.b)));
            }
            Op::Branch => self.branch(word),
            Op::Jump => self.jump(word),
            Op::Loop => self.loop_(word),
            Op::EndLoop => self.end_loop(word),
            Op::LoopIndex => self.loop_index(word),
            Op::Return => self.return_(),
            _ => {
                let right = self.operands_are_right(op, word);
                self.need(right, Why::Operand);
                self.simple(entry);
            }
        }
    }

    fn operands_are_right(&self, op: Op, word: Word) -> bool {
        let end = u32::from(word.b) + u32::from(word.a);
        match op {
            Op::PushBool => word.a <= 1,
            Op::TextF => word.a <= DECIMALS_MAX || word.a == DECIMALS_SHORTEST,
            Op::Concat => word.b <= text_bytes_max(self.program.profile),
            Op::TextEnum if word.a == 0 || end > u32::from(self.program.count(5)) => false,
            Op::TextEnum => {
                (word.b..end as u16).all(|index| self.program.constant_type(usize::from(index)) == ValueType::Text)
            }
            _ => true,
        }
    }

    fn array(&mut self, op: Op, word: Word) {
        self.need(word.b < self.program.count(ARRAYS), Why::Operand);
        let array = self.program.array(word.b);
        let (base, store) = (usize::from(array.base), op != Op::LoadAt);
        let element = self.slot(base, store);
        self.slot((base + usize::from(array.capacity)).wrapping_sub(1), store);
        self.slot(usize::from(array.length_slot), store);
        if op != Op::Grow {
            self.pop(ValueType::Int);
        }
        match op {
            Op::LoadAt => self.push(element),
            Op::StoreAt => self.pop(element),
            _ => self.push(ValueType::Int),
        }
    }

    /// Pop the arguments of a site, the last the top of the stack, and below them its fallback; push its result.
    fn site(&mut self, op: Op, word: Word, entry: Entry) {
        self.need(word.b < self.program.sites(), Why::Operand);
        let site = self.program.site_at(word.b);
        let kind = match op {
            Op::LoadResource => SiteKind::Read,
            Op::CallAction => SiteKind::Act,
            Op::LlmCall => SiteKind::Llm,
            _ => SiteKind::Emit,
        };
        let bottom = self.depth.wrapping_sub(usize::from(site.args));
        let right = site.kind == kind && self.depth >= self.frames.base() + usize::from(site.args);
        self.need(right, Why::Operand);
        if !right {
            return;
        }
        let mut scalars = site.scalars();
        for index in bottom..self.depth {
            let wanted = scalars.next().map(|scalar| scalar.value_type);
            self.need(wanted == Some(self.types.get(index)), Why::Stack);
        }
        self.depth = bottom;
        let (mut scratch, mut action_words) = (0, 1 + u32::from(site.args));
        if let Some(result) = scalars.next() {
            (scratch, action_words) = (u32::from(result.slot().size_bytes_max), 0);
            if site.on_failure == FALLBACK {
                self.pop(result.value_type);
            }
            self.push(result.value_type);
        }
        let mut more = Tally::of(entry.cost() + u32::from(site.cost), scratch);
        more.call(kind, action_words);
        self.count(&more);
    }

    fn timer(&mut self, op: Op, word: Word, entry: Entry) {
        self.need(word.b < self.program.count(TIMERS), Why::Operand);
        let timer = self.program.timer(word.b);
        let kind = TimerEntry::of(timer.kind);
        let capacity = if op == Op::Eval { u32::from(timer.capacity) } else { 0 };
        self.count(&Tally::of(entry.cost() + capacity, 0));
        if op == Op::Reset {
            return;
        }
        if kind.has_span() {
            self.pop(ValueType::Int);
        }
        self.pop(kind.operand());
        self.push(kind.result());
    }
}

/// The cost of an instruction that names neither a site nor a timer.
fn cost(op: Op, word: Word, entry: Entry) -> Tally {
    let more = if op == Op::Concat { u32::from(word.b) } else { 0 };
    let scratch = match op {
        Op::TextI => TEXT_I_BYTES,
        Op::TextF => TEXT_F_BYTES,
        Op::TextD => TEXT_D_BYTES,
        _ => more,
    };
    Tally::of(entry.cost() + more, scratch)
}
