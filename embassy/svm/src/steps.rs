//! What the instructions do that touch more than the stack: slots, arrays, loops, time words, text, sites.

use crate::instance::own_offset;
use crate::isa::{Op, TimerKind, Trap};
use crate::machine::{Run, Stop};
use crate::memory::{append, append_text, shortened};
use crate::operators::{float_pair, int_pair, single};
use crate::program::{FALLBACK, SKIP, Word};
use crate::table::{Entry, TimerEntry};
use crate::text;
use crate::timers::{evaluate, reset};
use crate::types::Scalar;
use crate::value::{Handle, Space, Texts, ValueType, canonical, text_of_bool};
use crate::world::{Call, Host, Reply};

impl Run<'_, '_, '_> {
    /// Store a word; a text is cut to the slot's limit.
    pub fn store(&mut self, slot: usize, value: u64) {
        let mut word = value;
        if self.program.has_text
            && let Some(found) = self.program.slot(slot)
            && found.value_type == ValueType::Text
        {
            word = shortened(self.texts(), Handle::from_word(value), usize::from(found.size_bytes_max)).word();
        }
        self.memory.store(slot, word);
    }

    /// LOAD_AT, STORE_AT and GROW.
    pub fn array(&mut self, op: Op, word: Word) -> Result<(), Trap> {
        let array = self.program.array(word.b).ok_or(Trap::FuelExhausted)?;
        let (length_slot, capacity) = (usize::from(array.length_slot), i64::from(array.capacity));
        let length = self.memory.load(length_slot) as i64;
        if op == Op::Grow {
            if !(0..capacity).contains(&length) {
                return Err(Trap::ListFull);
            }
            self.memory.store(length_slot, (length + 1) as u64);
            self.push(length as u64);
            return Ok(());
        }
        let index = self.pop() as i64;
        if !(0..length.min(capacity)).contains(&index) {
            return Err(Trap::IndexRange);
        }
        let slot = usize::from(array.base) + index as usize;
        if op == Op::LoadAt {
            self.push(self.memory.load(slot));
        } else {
            let value = self.pop();
            self.store(slot, value);
        }
        Ok(())
    }

    pub fn loop_(&mut self, word: Word) -> Result<(), Trap> {
        let trips = self.pop() as i64;
        if !(1..=i64::from(word.b)).contains(&trips) {
            return Err(Trap::LoopBound);
        }
        if let Some(open) = self.execution.trips.get_mut(usize::from(self.execution.loops)) {
            *open = (0, trips as u16);
        }
        self.execution.loops = self.execution.loops.wrapping_add(1);
        Ok(())
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

    pub fn loop_index(&mut self, word: Word) {
        let index = self.execution.loops.wrapping_sub(1).wrapping_sub(word.a);
        let trip = self.execution.trips.get(usize::from(index)).map_or(0, |open| open.0);
        self.push(u64::from(trip));
    }

    /// EVAL and RESET.
    pub fn timer(&mut self, op: Op, word: Word) {
        let Some(timer) = self.program.timer(word.b) else {
            return;
        };
        let (Some(kind), Some(entry)) = (TimerKind::from_code(timer.kind), TimerEntry::of(timer.kind)) else {
            return;
        };
        if op == Op::Reset {
            return reset(self.memory, &timer, kind);
        }
        let span = if entry.has_span() { self.pop() as i64 } else { 0 };
        let operand = self.pop();
        let value = evaluate(self.memory, &timer, kind, self.execution.time_us, operand, span);
        self.push(value);
    }

    /// The instructions that turn operands into a result.
    pub fn operate(&mut self, op: Op, word: Word) -> Result<(), Trap> {
        let top = self.pop();
        if Entry::of(word.opcode).is_some_and(|entry| entry.pops() < 2) {
            let result = match single(op, top) {
                Some(result) => result?,
                None => self.text_of(op, word, top)?,
            };
            self.push(result);
            return Ok(());
        }
        let lower = self.pop();
        let result = match int_pair(op, lower as i64, top as i64) {
            Some(result) => result?,
            None => match float_pair(op, f64::from_bits(lower), f64::from_bits(top)) {
                Some(result) => result,
                None => self.text_pair(op, word, Handle::from_word(lower), Handle::from_word(top)),
            },
        };
        self.push(result);
        Ok(())
    }

    /// The text of a number, a bool or an enum; the length of a text.
    fn text_of(&mut self, op: Op, word: Word, value: u64) -> Result<u64, Trap> {
        let written = match op {
            Op::TextI => text::of_int(value as i64),
            Op::TextD => text::of_duration(value as i64),
            Op::TextF => text::of_float(f64::from_bits(value), word.a),
            Op::LenT => return Ok(text::length(self.texts().get(Handle::from_word(value))) as u64),
            Op::TextEnum if value >= u64::from(word.a) => return Err(Trap::EnumRange),
            Op::TextEnum => {
                let constant = self.program.constant(word.b.wrapping_add(value as u16));
                return Ok(constant.map_or(0, |constant| constant.1));
            }
            _ => return Ok(text_of_bool(value != 0)),
        };
        Ok(append(self.memory.scratch, &mut self.execution.scratch, written.bytes()).word())
    }

    fn text_pair(&mut self, op: Op, word: Word, lower: Handle, top: Handle) -> u64 {
        let texts = self.texts();
        let (whole, part) = (texts.get(lower), texts.get(top));
        match op {
            Op::EqT => u64::from(whole == part),
            Op::Contains => u64::from(text::contains(whole, part)),
            Op::StartsWith => u64::from(whole.starts_with(part)),
            _ => self.concat(usize::from(word.b), lower, top),
        }
    }

    /// The two texts, cut to `most` bytes at a character boundary.
    fn concat(&mut self, most: usize, lower: Handle, top: Handle) -> u64 {
        let first = shortened(self.texts(), lower, most);
        let left = if first.size == lower.size { most.wrapping_sub(usize::from(first.size)) } else { 0 };
        let second = shortened(self.texts(), top, left);
        let (own, scratch) = (self.own, &mut *self.memory.scratch);
        let end = &mut self.execution.scratch;
        let start = append_text(scratch, end, self.program.bytes, own, first);
        let rest = append_text(scratch, end, self.program.bytes, own, second);
        Handle { size: start.size.wrapping_add(rest.size), ..start }.word()
    }

    /// CALL_ACTION and EMIT_EVENT: keep the call until the commit.
    pub fn collect(&mut self, word: Word) {
        let count = self.program.site(word.b).map_or(0, |site| usize::from(site.args));
        self.execution.depth = self.execution.depth.wrapping_sub(count as u8);
        let args = self.memory.stack.get(usize::from(self.execution.depth)..).unwrap_or(&[]);
        let room = self.memory.actions.get_mut(self.execution.actions..).unwrap_or(&mut []);
        let head = u64::from(word.b) | (count as u64) << 16;
        let call = core::iter::once(&head).chain(args.iter().take(count));
        room.iter_mut().zip(call).for_each(|(place, word)| *place = *word);
        self.execution.actions = self.execution.actions.wrapping_add(1 + count);
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
    pub fn ask(&mut self, word: Word, host: &mut dyn Host) -> Result<(), Stop> {
        let impossible = Stop::Trap(Trap::FuelExhausted);
        let Some(site) = self.program.site(word.b) else {
            return Err(impossible);
        };
        let Some(result) = site.result() else {
            return Err(impossible);
        };
        let bottom = usize::from(self.execution.depth.wrapping_sub(site.args));
        let words = self.memory.stack.get(bottom..usize::from(self.execution.depth)).unwrap_or(&[]);
        let top = self.execution.scratch;
        let (low, high) = self.memory.scratch.split_at_mut_checked(top).unwrap_or((&mut [], &mut []));
        let room = high.get_mut(..usize::from(result.slot.size_bytes_max)).unwrap_or(&mut []);
        let texts = Texts { program: self.program.bytes, own: self.own, scratch: low };
        let reply = host.read(Call { program: self.program, words, texts, index: word.b }, room);
        if reply == Reply::Pending {
            self.execution.suspended = true;
            return Err(Stop::Pending);
        }
        let answer = self.answer(reply, result);
        self.execution.depth = bottom as u8;
        let fallback = if site.on_failure == FALLBACK { Some(self.pop()) } else { None };
        match answer.or(fallback) {
            Some(value) => self.push(value),
            None if site.on_failure == SKIP => return Err(Stop::Skip),
            None => return Err(Stop::Trap(Trap::CapabilityFailed)),
        }
        Ok(())
    }

    /// The word of an answer that the site can take.
    fn answer(&mut self, reply: Reply, result: Scalar) -> Option<u64> {
        if reply.value_type()? != result.slot.value_type {
            return None;
        }
        match reply {
            Reply::Bool(value) => Some(u64::from(value)),
            Reply::Int(value) => {
                let pin = !result.pin || (0..i64::from(crate::tables::pins(self.program))).contains(&value);
                (pin && result.takes(value)).then_some(value as u64)
            }
            Reply::Float(value) => Some(canonical(value.to_bits())),
            Reply::Text(size) if size <= usize::from(result.slot.size_bytes_max) => {
                let handle = Handle::new(Space::Scratch, self.execution.scratch, size);
                let right = text::is_utf8(self.texts().get(handle));
                self.execution.scratch = self.execution.scratch.wrapping_add(if right { size } else { 0 });
                right.then(|| handle.word())
            }
            _ => None,
        }
    }

    /// Before the commit: copy to the scratch what state slots hold of the texts that the commit writes over.
    pub fn keep_texts(&mut self) {
        let (base, end) = (self.program.regions.state_base(), self.program.regions.state_end());
        if !self.program.has_text {
            return;
        }
        for slot in base..end {
            if self.program.slot(slot).is_none_or(|found| found.value_type != ValueType::Text) {
                continue;
            }
            let text = Handle::from_word(self.memory.load(slot));
            if text.space == Space::Own && text.offset as usize != own_offset(self.program, slot) {
                let (own, scratch) = (self.own, &mut *self.memory.scratch);
                let kept = append_text(scratch, &mut self.execution.scratch, self.program.bytes, own, text);
                self.memory.store(slot, kept.word());
            }
        }
    }
}
