//! What the instructions do that touch more than the stack: slots, arrays, loops, time words, text, sites.

use crate::instance::own_offset;
use crate::isa::{Op, TimerKind, Trap};
use crate::machine::{Run, Status};
use crate::memory::{put_words, shortened};
use crate::operators::calculate;
use crate::program::{FALLBACK, SKIP, Word};
use crate::table::TimerEntry;
use crate::text;
use crate::timers::{evaluate, reset};
use crate::types::Scalar;
use crate::value::{Handle, Space, Texts, ValueType, canonical, text_of_bool};
use crate::world::{Call, Host, Reply};

impl Run<'_, '_, '_> {
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
    pub fn element(&mut self, op: Op, word: Word, value: u64, index: u64) -> u64 {
        let array = self.program.array(word.b);
        let length = self.memory.load(usize::from(array.length_slot)) as i64;
        if index >= u64::from(array.capacity) || index as i64 >= length {
            self.trap(Trap::IndexRange);
            return 0;
        }
        let slot = usize::from(array.base) + index as usize;
        if op == Op::StoreAt {
            self.store(slot, value);
        }
        self.memory.load(slot)
    }

    pub fn grow(&mut self, word: Word) -> u64 {
        let array = self.program.array(word.b);
        let slot = usize::from(array.length_slot);
        let length = self.memory.load(slot);
        if length >= u64::from(array.capacity) {
            self.trap(Trap::ListFull);
        } else {
            self.memory.store(slot, length + 1);
        }
        length
    }

    pub fn loop_(&mut self, word: Word, trips: u64) {
        if trips.wrapping_sub(1) >= u64::from(word.b) {
            return self.trap(Trap::LoopBound);
        }
        if let Some(open) = self.execution.trips.get_mut(usize::from(self.execution.loops)) {
            *open = (0, trips as u16);
        }
        self.execution.loops = self.execution.loops.wrapping_add(1);
    }

    pub fn end_loop(&mut self, word: Word, next: u16) -> u16 {
        let innermost = self.execution.loops.wrapping_sub(1);
        if let Some((trip, trips)) = self.execution.trips.get_mut(usize::from(innermost)) {
            *trip = trip.wrapping_add(1);
            if trip < trips {
                return word.b;
            }
        }
        self.execution.loops = innermost;
        next
    }

    pub fn loop_index(&mut self, word: Word) -> u64 {
        let index = self.execution.loops.wrapping_sub(1).wrapping_sub(word.a);
        self.execution.trips.get(usize::from(index)).map_or(0, |open| u64::from(open.0))
    }

    /// EVAL and RESET.
    pub fn timer(&mut self, op: Op, word: Word) -> u64 {
        let timer = self.program.timer(word.b);
        let Some(kind) = TimerKind::from_code(timer.kind) else {
            return 0;
        };
        if op == Op::Reset {
            reset(self.memory, &timer, kind);
            return 0;
        }
        let span = if TimerEntry::of(timer.kind).has_span() { self.pop() as i64 } else { 0 };
        let operand = self.pop();
        evaluate(self.memory, &timer, kind, self.execution.time_us, operand, span)
    }

    /// The instructions that turn operands into a result.
    pub fn operate(&mut self, op: Op, word: Word, lower: u64, top: u64) -> u64 {
        match calculate(op, lower, top) {
            Some(Ok(result)) => result,
            Some(Err(trap)) => {
                self.trap(trap);
                0
            }
            None => self.text(op, word, Handle::from_word(lower), top),
        }
    }

    fn text(&mut self, op: Op, word: Word, lower: Handle, top: u64) -> u64 {
        let (texts, handle) = (self.texts(), Handle::from_word(top));
        let (whole, part) = (texts.get(lower), texts.get(handle));
        let written = match op {
            Op::EqT => return u64::from(whole == part),
            Op::Contains => return u64::from(text::contains(whole, part)),
            Op::StartsWith => return u64::from(whole.starts_with(part)),
            Op::LenT => return text::length(part) as u64,
            Op::Concat => return self.concat(usize::from(word.b), lower, handle),
            Op::TextB => return text_of_bool(top != 0),
            Op::TextEnum if top >= u64::from(word.a) => {
                self.trap(Trap::EnumRange);
                return 0;
            }
            Op::TextEnum => return self.program.constant(word.b.wrapping_add(top as u16)).1,
            Op::TextF => text::of_float(f64::from_bits(top), word.a),
            Op::TextD => text::of_duration(top as i64),
            _ => text::of_int(top as i64),
        };
        self.memory.append(&mut self.execution.scratch, written.bytes()).word()
    }

    /// The two texts, cut to `most` bytes at a character boundary.
    fn concat(&mut self, most: usize, lower: Handle, top: Handle) -> u64 {
        let first = shortened(self.texts(), lower, most);
        let left = if first.size == lower.size { most.wrapping_sub(usize::from(first.size)) } else { 0 };
        let second = shortened(self.texts(), top, left);
        let end = &mut self.execution.scratch;
        let start = self.memory.append_text(end, self.program, self.own, first);
        let rest = self.memory.append_text(end, self.program, self.own, second);
        Handle { size: start.size.wrapping_add(rest.size), ..start }.word()
    }

    /// CALL_ACTION and EMIT_EVENT: keep the call until the commit.
    pub fn collect(&mut self, word: Word) {
        let count = usize::from(self.program.site_at(word.b).args);
        let args = self.drop_args(count);
        let args = self.memory.stack.get(args..args + count).unwrap_or(&[]);
        let head = u64::from(word.b) | (count as u64) << 16;
        put_words(self.memory.actions, self.execution.actions, &[head]);
        put_words(self.memory.actions, self.execution.actions + 1, args);
        self.execution.actions += 1 + count;
    }

    /// Pop arguments and return where they lie on the stack.
    fn drop_args(&mut self, count: usize) -> usize {
        self.execution.depth = self.execution.depth.wrapping_sub(count as u8);
        usize::from(self.execution.depth)
    }

    /// Hand the kept calls to the host, in order.
    pub fn act(&self, host: &mut dyn Host) {
        let mut rest = self.memory.actions.get(..self.execution.actions).unwrap_or(&[]);
        while let Some((head, after)) = rest.split_first() {
            let (words, others) = after.split_at_checked((head >> 16) as usize).unwrap_or((&[], &[]));
            host.act(Call { program: self.program, words, texts: self.texts(), index: *head as u16 });
            rest = others;
        }
    }

    /// LOAD_RESOURCE and LLM_CALL.
    pub fn ask(&mut self, word: Word, host: &mut dyn Host) -> u64 {
        let site = self.program.site_at(word.b);
        let count = usize::from(site.args);
        let Some(result) = site.scalars().nth(count) else {
            return 0;
        };
        let bottom = self.drop_args(count);
        let words = self.memory.stack.get(bottom..bottom + count).unwrap_or(&[]);
        let top = self.execution.scratch;
        let (low, high) = self.memory.scratch.split_at_mut_checked(top).unwrap_or((&mut [], &mut []));
        let room = high.get_mut(..usize::from(result.slot().size_bytes_max)).unwrap_or(&mut []);
        let texts = Texts { program: self.program.bytes, own: self.own, scratch: low };
        let reply = host.read(Call { program: self.program, words, texts, index: word.b }, room);
        if reply == Reply::Pending {
            self.execution.depth = (bottom + count) as u8;
            self.execution.suspended = true;
            self.stop = Some(Status::Pending);
            return 0;
        }
        let answer = self.answer(reply, result);
        let fallback = if site.on_failure == FALLBACK { Some(self.pop()) } else { None };
        if let Some(value) = answer.or(fallback) {
            return value;
        }
        let skips = site.on_failure == SKIP;
        self.stop = Some(if skips { Status::Skipped } else { Status::Trapped(Trap::CapabilityFailed) });
        0
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
