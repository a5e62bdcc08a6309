//! What each instruction costs, pops and pushes, and which of its operands are right.

use crate::control::{ACTION_WORDS, CALLS, FUEL, SCRATCH};
use crate::isa::code;
use crate::program::Word;
use crate::refusal::{Fault, Why, need};
use crate::site::{FALLBACK, SiteKind};
use crate::table::{Entry, TimerEntry};
use crate::text::{DECIMALS_MAX, DECIMALS_SHORTEST};
use crate::types::text_bytes_max;
use crate::value::ValueType;
use crate::verify::Pass;

const TEXT_I_BYTES: u32 = 20;
const TEXT_F_BYTES: u32 = 27;
const TEXT_D_BYTES: u32 = 22;
const CONSTANTS: usize = 5;
const ARRAYS: usize = 6;
const TIMERS: usize = 7;

impl<const TYPES: usize, const BLOCKS: usize> Pass<'_, '_, TYPES, BLOCKS> {
    /// Count an instruction, check its operands, pop and push what it does.
    pub fn effect(&mut self, word: Word, entry: Entry) -> Fault {
        self.count(FUEL, entry.cost())?;
        // The type of X: of what the operand names, else of the top of the stack.
        let mut any = self.types.get(self.depth.wrapping_sub(1));
        match word.opcode {
            code::LOAD => any = self.slot(word.b, false)?,
            code::STORE => any = self.slot(word.b, true)?,
            code::LOAD_AT | code::STORE_AT | code::GROW => any = self.array(word)?,
            code::CONST => {
                self.need_entry(CONSTANTS, word.b)?;
                any = self.program.constant_type(usize::from(word.b));
            }
            code::LOAD_RESOURCE | code::CALL_ACTION | code::LLM_CALL | code::EMIT_EVENT => return self.site(word),
            code::EVAL | code::RESET => return self.timer(word),
            _ => self.operands(word)?,
        }
        for index in (0..entry.pops()).rev() {
            self.pop(entry.pop(index).of(any))?;
        }
        for index in 0..entry.pushes() {
            self.push(entry.push(index).of(any))?;
        }
        self.control(word)
    }

    /// Check the operands that name no entry of a table, and count the text that an instruction writes.
    fn operands(&mut self, word: Word) -> Fault {
        let more = u32::from(word.b);
        let (right, scratch) = match word.opcode {
            code::PUSH_BOOL => (word.a <= 1, 0),
            code::TEXT_F => (word.a <= DECIMALS_MAX || word.a == DECIMALS_SHORTEST, TEXT_F_BYTES),
            code::TEXT_I => (true, TEXT_I_BYTES),
            code::TEXT_D => (true, TEXT_D_BYTES),
            code::TEXT_ENUM => (self.are_texts(usize::from(word.b), usize::from(word.a)), 0),
            code::CONCAT => {
                self.count(FUEL, more)?;
                (word.b <= text_bytes_max(self.program.profile), more)
            }
            _ => return Ok(()),
        };
        need(right, Why::Operand)?;
        self.count(SCRATCH, scratch)
    }

    /// Whether there are so many constants from `first` on, at least one, and all of them are texts.
    fn are_texts(&self, first: usize, count: usize) -> bool {
        let end = first + count;
        count > 0
            && end <= usize::from(self.program.count(CONSTANTS))
            && (first..end).all(|index| self.program.constant_type(index) == ValueType::Text)
    }

    /// Refuse the index of an entry that a table does not have.
    #[inline(never)]
    fn need_entry(&self, id: usize, index: u16) -> Fault {
        need(index < self.program.count(id), Why::Operand)
    }

    /// The type of the elements of an array, which this handler must be allowed to load (or store).
    fn array(&mut self, word: Word) -> Result<ValueType, Why> {
        self.need_entry(ARRAYS, word.b)?;
        let (array, store) = (self.program.array(word.b), word.opcode != code::LOAD_AT);
        self.slot(array.length_slot, store)?;
        self.slot(array.base.wrapping_add(array.capacity).wrapping_sub(1), store)?;
        self.slot(array.base, store)
    }

    /// Pop the arguments of a site, the last the top of the stack, and below them its fallback; push its result.
    fn site(&mut self, word: Word) -> Fault {
        self.need_entry(8, word.b)?;
        let site = self.program.site_at(word.b);
        let kind = match word.opcode {
            code::LOAD_RESOURCE => SiteKind::Read,
            code::CALL_ACTION => SiteKind::Act,
            code::LLM_CALL => SiteKind::Llm,
            _ => SiteKind::Emit,
        };
        let args = usize::from(site.args);
        need(site.kind == kind && self.depth >= self.frames.base() + args, Why::Operand)?;
        self.depth -= args;
        for index in 0..args {
            need(site.arg_type(index) == self.types.get(self.depth + index), Why::Stack)?;
        }
        self.count(FUEL, u32::from(site.cost))?;
        self.count(CALLS + kind as usize, 1)?;
        if !site.has_result {
            return self.count(ACTION_WORDS, 1 + args as u32);
        }
        let result = site.result();
        self.count(SCRATCH, u32::from(result.slot().size_bytes_max))?;
        if site.on_failure == FALLBACK {
            self.pop(result.value_type)?;
        }
        self.push(result.value_type)
    }

    fn timer(&mut self, word: Word) -> Fault {
        self.need_entry(TIMERS, word.b)?;
        let timer = self.program.timer(word.b);
        let kind = TimerEntry::of(timer.kind);
        if word.opcode == code::RESET {
            return Ok(());
        }
        self.count(FUEL, u32::from(timer.capacity))?;
        if kind.has_span() {
            self.pop(ValueType::Int)?;
        }
        self.pop(kind.operand())?;
        self.push(kind.result())
    }
}
