//! The time words: what EVAL and RESET do to a timer's slots. docs/svm.md, Timers and windows.

use crate::float;
use crate::isa::TimerKind;
use crate::memory::Memory;
use crate::numbers::{GREATER, LESS, float_between, has_passed, order_float};
use crate::program::Timer;
use crate::value::{NAN_BITS, is_nan};

const TIME_UNSET: i64 = i64::MIN;
const HEAD_SLOTS: usize = 2;
/// 1,000,000.0: us in a second.
const SECOND_US: u64 = 0x412E_8480_0000_0000;

/// Put a timer back; of a window only head and count, its samples keep their bits.
pub(crate) fn reset(memory: &mut Memory<'_>, timer: &Timer, kind: TimerKind) {
    let base = usize::from(timer.base);
    let unset = matches!(kind, TimerKind::Hold | TimerKind::Cooldown);
    memory.store(base, if unset { TIME_UNSET as u64 } else { 0 });
    if timer.capacity > 0 {
        memory.store(base + 1, 0);
    }
}

/// Evaluate a timer on its operands, the span 0 where the kind has none, and return its value as a word.
pub(crate) fn evaluate(
    memory: &mut Memory<'_>,
    timer: &Timer,
    kind: TimerKind,
    time: i64,
    operand: u64,
    span: i64,
) -> u64 {
    let base = usize::from(timer.base);
    let before = memory.load(base);
    let result = match kind {
        TimerKind::Hold => hold(memory, base, time, operand != 0, span),
        TimerKind::Cooldown => cooldown(memory, base, time, operand != 0, span),
        TimerKind::Rises | TimerKind::Falls => {
            memory.store(base, operand);
            if kind == TimerKind::Rises { operand & !before & 1 != 0 } else { before & !operand & 1 != 0 }
        }
        _ => return Window::open(memory, timer).evaluate(kind, time, operand, span),
    };
    u64::from(result)
}

fn hold(memory: &mut Memory<'_>, base: usize, time: i64, condition: bool, span: i64) -> bool {
    let mut since = memory.load(base) as i64;
    if !condition {
        since = TIME_UNSET;
    } else if since == TIME_UNSET {
        since = time;
    }
    memory.store(base, since as u64);
    condition && has_passed(time, since, span)
}

fn cooldown(memory: &mut Memory<'_>, base: usize, time: i64, condition: bool, span: i64) -> bool {
    let last = memory.load(base) as i64;
    let passes = condition && (last == TIME_UNSET || has_passed(time, last, span));
    if passes {
        memory.store(base, time as u64);
    }
    passes
}

/// A window: a ring of samples with their times.
struct Window<'w, 'm> {
    memory: &'w mut Memory<'m>,
    base: usize,
    capacity: usize,
    head: usize,
    count: usize,
}

impl<'w, 'm> Window<'w, 'm> {
    fn open(memory: &'w mut Memory<'m>, timer: &Timer) -> Self {
        let (base, capacity) = (usize::from(timer.base), usize::from(timer.capacity));
        let (head, count) = (memory.load(base), memory.load(base + 1));
        let right = head < capacity as u64 && count <= capacity as u64;
        let (head, count) = if right { (head as usize, count as usize) } else { (0, 0) };
        Self { memory, base: base + HEAD_SLOTS, capacity, head, count }
    }

    /// The slot of the time of sample `index`, 0 the oldest; its value lies `capacity` slots further.
    fn place(&self, index: usize) -> usize {
        let place = self.head + index;
        self.base + if place < self.capacity { place } else { place - self.capacity }
    }

    fn time(&self, index: usize) -> i64 {
        self.memory.load(self.place(index)) as i64
    }

    fn sample(&self, index: usize) -> u64 {
        self.memory.load(self.place(index) + self.capacity)
    }

    fn drop_oldest(&mut self) {
        self.head = self.place(1) - self.base;
        self.count -= 1;
    }

    fn evaluate(&mut self, kind: TimerKind, time: i64, operand: u64, span: i64) -> u64 {
        while self.count > 0 && has_passed(time, self.time(0), span) {
            self.drop_oldest();
        }
        let counts = kind == TimerKind::Count;
        let sample = if counts { float::ONE } else { operand };
        if if counts { operand != 0 } else { !is_nan(operand) } {
            if self.count == self.capacity {
                self.drop_oldest();
            }
            let place = self.place(self.count);
            self.memory.store(place, time as u64);
            self.memory.store(place + self.capacity, sample);
            self.count += 1;
        }
        self.memory.store(self.base - HEAD_SLOTS, self.head as u64);
        self.memory.store(self.base - 1, self.count as u64);
        if counts { self.count as u64 } else { self.value(kind) }
    }

    fn value(&self, kind: TimerKind) -> u64 {
        match kind {
            TimerKind::Rate => self.rate(),
            TimerKind::Sum => self.sum(),
            _ if self.count == 0 => NAN_BITS,
            TimerKind::Mean => float::divide(self.sum(), float::of_size(0, self.count as u64)),
            TimerKind::Min => self.extreme(LESS),
            _ => self.extreme(GREATER),
        }
    }

    fn sum(&self) -> u64 {
        (0..self.count).fold(0, |sum, index| float::add(sum, self.sample(index)))
    }

    /// The first sample than which no other is `order`.
    fn extreme(&self, order: u8) -> u64 {
        (1..self.count).fold(self.sample(0), |best, index| {
            let sample = self.sample(index);
            if order_float(sample, best) == order { sample } else { best }
        })
    }

    fn rate(&self) -> u64 {
        let Some(newest) = self.count.checked_sub(1).filter(|newest| *newest > 0) else {
            return 0;
        };
        let (newest_us, oldest_us) = (self.time(newest), self.time(0));
        if newest_us == oldest_us {
            return 0;
        }
        let gone = float::add(self.sample(newest), self.sample(0) ^ float::SIGN);
        float::divide(gone, float::divide(float_between(newest_us, oldest_us), SECOND_US))
    }
}
