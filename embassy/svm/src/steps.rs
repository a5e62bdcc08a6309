//! What the instructions do that touch more than slots, stack and numbers: arrays, time words, text, sites.

use crate::instance::own_offset;
use crate::isa::{TimerKind, Trap, code};
use crate::machine::{Run, Status};
use crate::memory::shortened;
use crate::program::Word;
use crate::site::{FALLBACK, SKIP};
use crate::table::{Entry, TimerEntry};
use crate::text;
use crate::timers::{evaluate, reset};
use crate::types::Scalar;
use crate::value::{Handle, Space, Texts, ValueType, canonical, text_of_bool};
use crate::world::{Call, Host, Reply};

/// What an instruction leaves, or how it ends the execution.
type Step<T> = Result<T, Status>;

const fn trap<T>(trap: Trap) -> Step<T> {
    Err(Status::Trapped(trap))
}

impl Run<'_, '_, '_> {
    /// Run one instruction that `cycle` stopped at, and go on to the next.
    #[inline(never)]
    pub fn step(&mut self, word: Word, host: &mut dyn Host) -> Step<()> {
        let entry = Entry::of(word.opcode);
        let last = self.execution.top.wrapping_sub(1);
        self.execution.top = self.execution.top.wrapping_sub(entry.pops() as u16);
        let (lower, top) = (self.memory.load(usize::from(self.execution.top)), self.memory.load(usize::from(last)));
        let mut result = 0;
        match word.opcode {
            code::STORE => self.store(usize::from(word.b), top),
            code::LOAD_AT | code::STORE_AT => result = self.element(word, lower, top)?,
            code::GROW => result = self.grow(word)?,
            code::RETURN => return Err(Status::Ok),
            code::NOW => result = self.execution.time_us as u64,
            code::LOCAL_NOW => result = self.execution.time_us.wrapping_add(self.execution.utc_offset_us) as u64,
            code::CALL_ACTION | code::EMIT_EVENT => self.collect(word),
            code::LOAD_RESOURCE | code::LLM_CALL => result = self.ask(word, host)?,
            code::EVAL | code::RESET => self.timer(word),
            _ => result = self.text(word, Handle::from_word(lower), top)?,
        }
        if entry.pushes() > 0 {
            self.push(result);
        }
        self.execution.pc = self.execution.pc.wrapping_add(1);
        Ok(())
    }

    /// Store a word; a text is cut to the slot's limit.
    #[inline(never)]
    pub fn store(&mut self, slot: usize, value: u64) {
        let mut word = value;
        if self.program.has_text {
            let found = self.program.slot_at(slot);
            if found.value_type == ValueType::Text {
                word = shortened(self.texts(), Handle::from_word(value), usize::from(found.size_bytes_max)).word();
            }
        }
        self.memory.store(slot, word);
    }

    /// LOAD_AT and STORE_AT.
    fn element(&mut self, word: Word, value: u64, index: u64) -> Step<u64> {
        let array = self.program.array(word.b);
        let length = self.memory.load(usize::from(array.length_slot)) as i64;
        if index >= u64::from(array.capacity) || index as i64 >= length {
            return trap(Trap::IndexRange);
        }
        let slot = usize::from(array.base) + index as usize;
        if word.opcode == code::STORE_AT {
            self.store(slot, value);
        }
        Ok(self.memory.load(slot))
    }

    fn grow(&mut self, word: Word) -> Step<u64> {
        let array = self.program.array(word.b);
        let slot = usize::from(array.length_slot);
        let length = self.memory.load(slot);
        if length >= u64::from(array.capacity) {
            return trap(Trap::ListFull);
        }
        self.memory.store(slot, length + 1);
        Ok(length)
    }

    /// EVAL and RESET.
    #[inline(never)]
    fn timer(&mut self, word: Word) {
        let timer = self.program.timer(word.b);
        let Some(kind) = TimerKind::from_code(timer.kind as u8) else {
            return;
        };
        if word.opcode == code::RESET {
            return reset(self.memory, &timer, kind);
        }
        self.pay(timer.capacity);
        let span = if TimerEntry::of(timer.kind).has_span() { self.pop() as i64 } else { 0 };
        let operand = self.pop();
        let result = evaluate(self.memory, &timer, kind, self.execution.time_us, operand, span);
        self.push(result);
    }

    #[inline(never)]
    fn text(&mut self, word: Word, lower: Handle, top: u64) -> Step<u64> {
        let (texts, handle) = (self.texts(), Handle::from_word(top));
        let (whole, part) = (texts.get(lower), texts.get(handle));
        let written = match word.opcode {
            code::EQ_T => return Ok(u64::from(whole == part)),
            code::CONTAINS => return Ok(u64::from(text::contains(whole, part))),
            code::STARTS_WITH => return Ok(u64::from(whole.starts_with(part))),
            code::LEN_T => return Ok(text::length(part) as u64),
            code::CONCAT => return Ok(self.concat(word.b, lower, handle)),
            code::TEXT_B => return Ok(text_of_bool(top != 0)),
            code::TEXT_ENUM if top >= u64::from(word.a) => return trap(Trap::EnumRange),
            code::TEXT_ENUM => return Ok(self.program.constant(usize::from(word.b) + top as usize)),
            code::TEXT_F => text::of_float(top, word.a),
            code::TEXT_D => text::of_duration(top as i64),
            _ => text::of_int(top as i64),
        };
        Ok(self.memory.append(&mut self.execution.scratch, written.bytes()).word())
    }

    /// The two texts, cut to `most` bytes at a character boundary.
    fn concat(&mut self, most_bytes: u16, lower: Handle, top: Handle) -> u64 {
        self.pay(most_bytes);
        let most = usize::from(most_bytes);
        let first = shortened(self.texts(), lower, most);
        let left = if first.size == lower.size { most.wrapping_sub(usize::from(first.size)) } else { 0 };
        let second = shortened(self.texts(), top, left);
        let end = &mut self.execution.scratch;
        let start = self.memory.append_text(end, self.program, self.own, first);
        let rest = self.memory.append_text(end, self.program, self.own, second);
        Handle { size: start.size.wrapping_add(rest.size), ..start }.word()
    }

    /// CALL_ACTION and EMIT_EVENT: keep the call until the commit.
    fn collect(&mut self, word: Word) {
        let site = self.program.site_at(word.b);
        let count = usize::from(site.args);
        self.pay(site.cost);
        let args = self.drop_args(count);
        let at = self.execution.actions;
        self.memory.store(at, u64::from(word.b) | (count as u64) << 16);
        for index in 0..count {
            let arg = self.memory.load(args + index);
            self.memory.store(at + 1 + index, arg);
        }
        self.execution.actions = at + 1 + count;
    }

    /// Pop arguments and return where they lie on the stack.
    fn drop_args(&mut self, count: usize) -> usize {
        self.execution.top = self.execution.top.wrapping_sub(count as u16);
        usize::from(self.execution.top)
    }

    /// Hand the kept calls to the host, in order.
    pub fn act(&self, host: &mut dyn Host) {
        let first = self.program.regions.total() + self.program.stack_max();
        let mut rest = self.memory.words.get(first..self.execution.actions).unwrap_or(&[]);
        while let Some((head, after)) = rest.split_first() {
            let (words, others) = after.split_at_checked((head >> 16) as usize).unwrap_or((&[], &[]));
            let index = *head as u16;
            let site = self.program.site_at(index);
            host.act(Call { site: &site, words, texts: self.texts(), index });
            rest = others;
        }
    }

    /// LOAD_RESOURCE and LLM_CALL.
    fn ask(&mut self, word: Word, host: &mut dyn Host) -> Step<u64> {
        let site = self.program.site_at(word.b);
        let count = usize::from(site.args);
        let result = site.result();
        let bottom = self.drop_args(count);
        let words = self.memory.words.get(bottom..bottom + count).unwrap_or(&[]);
        let top = self.execution.scratch;
        let (low, high) = self.memory.scratch.split_at_mut_checked(top).unwrap_or((&mut [], &mut []));
        let room = high.get_mut(..usize::from(result.slot().size_bytes_max)).unwrap_or(&mut []);
        let texts = Texts { program: self.program.bytes, own: self.own, scratch: low };
        let reply = host.read(Call { site: &site, words, texts, index: word.b }, room);
        if matches!(reply, Reply::Pending) {
            self.execution.top = (bottom + count) as u16;
            self.execution.fuel = self.execution.fuel.wrapping_sub(Entry::of(word.opcode).cost());
            return Err(Status::Pending);
        }
        self.pay(site.cost);
        let answer = self.answer(reply, result);
        let fallback = if site.on_failure == FALLBACK { Some(self.pop()) } else { None };
        if let Some(value) = answer.or(fallback) {
            return Ok(value);
        }
        if site.on_failure == SKIP { Err(Status::Skipped) } else { trap(Trap::CapabilityFailed) }
    }

    /// The word of an answer that the site can take.
    fn answer(&mut self, reply: Reply, result: Scalar) -> Option<u64> {
        let (value_type, word) = match reply {
            Reply::Bool(value) => (ValueType::Bool, u64::from(value)),
            Reply::Int(value) if result.takes(value, self.program.pins) => (ValueType::Int, value as u64),
            Reply::Float(value) => (ValueType::Float, canonical(value.to_bits())),
            Reply::Text(size) if size <= usize::from(result.slot().size_bytes_max) => {
                let handle = Handle::new(Space::Scratch, self.execution.scratch, size);
                if !text::is_utf8(self.texts().get(handle)) {
                    return None;
                }
                self.execution.scratch += size;
                (ValueType::Text, handle.word())
            }
            _ => return None,
        };
        (value_type == result.value_type).then_some(word)
    }

    /// Before the commit: copy to the scratch what state slots hold of the texts that the commit writes over.
    pub fn keep_texts(&mut self) {
        let (base, end) = (self.program.regions.state_base(), self.program.regions.state_end());
        if !self.program.has_text {
            return;
        }
        for slot in base..end {
            if self.program.slot_at(slot).value_type != ValueType::Text {
                continue;
            }
            let text = Handle::from_word(self.memory.load(slot));
            if text.space == Space::Own && text.offset as usize != own_offset(self.program, slot) {
                let kept = self.memory.append_text(&mut self.execution.scratch, self.program, self.own, text);
                self.memory.store(slot, kept.word());
            }
        }
    }
}
