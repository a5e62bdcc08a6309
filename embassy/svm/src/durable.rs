//! What a program's durable memory consists of, for hosts that keep it across restarts and versions.

use crate::instance::{Instance, place};
use crate::program::Program;
use crate::reader::Reader;
use crate::table::TimerEntry;
use crate::tables::read_param;

const SLOTS: usize = 3;
const TIMERS: usize = 7;
const SITES: usize = 8;
const PARAMS: usize = 9;
const STATE: usize = 10;
const SECTION_HEAD_BYTES: usize = 8;

/// What a part of the durable memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A parameter, by its index in the program.
    Param(u8),
    /// A state variable.
    Variable,
    /// The memory of a time word, by its index.
    Timer(u16),
    /// The memory of a `for`.
    Hold,
    /// The samples of a window.
    Window,
}

/// A part of the durable memory: the slots from `base` on.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it is.
    pub kind: PartKind,
    /// The name of a parameter or variable; empty for a time word.
    pub name: &'a [u8],
    /// Its type as it stands in the program.
    pub type_bytes: &'a [u8],
    /// The first slot.
    pub base: usize,
    /// How many slots.
    pub size: usize,
}

impl<'a> Program<'a> {
    /// Visit each part of the durable memory.
    pub fn durable(&self, visit: &mut dyn FnMut(Part<'a>)) {
        let (mut names, mut reader) = (self.section(PARAMS), self.params());
        for index in 0..names.u8() {
            let start = reader;
            read_param(&mut reader);
            let (name, (type_bytes, _)) = (names.name(), typed(start));
            visit(Part { kind: PartKind::Param(index), name, type_bytes, base: usize::from(index), size: 1 });
        }
        let (mut names, mut reader) = (self.section(STATE), self.section(STATE));
        let mut base = self.regions.state_base();
        names.u16();
        let count = reader.u16();
        reader.names(count, 0);
        for _ in 0..count {
            let (name, (type_bytes, size)) = (names.name(), typed(reader));
            visit(Part { kind: PartKind::Variable, name, type_bytes, base, size });
            base += size;
            let type_at = reader;
            reader.skip_type();
            reader.values(type_at, &mut |_| ());
        }
        for index in 0..self.count(TIMERS) {
            let timer = self.timer(index);
            let kind = match (timer.capacity, timer.kind) {
                (0, 1) => PartKind::Hold,
                (0, _) => PartKind::Timer(index),
                _ => PartKind::Window,
            };
            visit(Part { kind, name: &[], type_bytes: &[], base: usize::from(timer.base), size: timer.size() });
        }
    }

    /// The bytes that say what each time word is and where its memory lies: slots, code, constants, arrays, timers.
    pub fn shape(&self) -> &'a [u8] {
        let (mut start, end) = (self.section(SLOTS), self.section(SITES).position);
        start.take(end.saturating_sub(SECTION_HEAD_BYTES).saturating_sub(start.position))
    }
}

/// The bytes of the type that a reader stands before, and how many slots it takes.
fn typed<'a>(mut start: Reader<'a>) -> (&'a [u8], usize) {
    let mut end = start;
    let size = end.skip_type().size as usize;
    (start.take(end.position.saturating_sub(start.position)), size)
}

impl Instance<'_> {
    /// Move every time that a time word remembers, from `since_us` on, by `step_us`, when the host's clock was set: what
    /// was three seconds ago still is.
    pub fn shift_times(&mut self, program: &Program<'_>, since_us: i64, step_us: i64) {
        for index in 0..program.count(TIMERS) {
            let timer = program.timer(index);
            let (base, capacity) = (usize::from(timer.base), usize::from(timer.capacity));
            let slots = match capacity {
                0 if TimerEntry::of(timer.kind).has_span() => base..base + 1,
                0 => continue,
                _ => base + 2..base + 2 + capacity,
            };
            for slot in slots {
                if let Some(word) = place(program, slot).and_then(|at| self.words.get_mut(at)) {
                    // A time that is not set lies before every other.
                    if *word as i64 >= since_us {
                        *word = word.wrapping_add(step_us as u64);
                    }
                }
            }
        }
    }
}
