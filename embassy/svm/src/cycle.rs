//! The hot part of the interpreter: fetch, dispatch, and every instruction that only touches slots, stack and numbers.
//! What it costs in flash it is worth: it runs once for each instruction of each rule.

use crate::isa::{Op, Trap, code};
use crate::machine::Execution;
use crate::operators::{more, of_one, of_two};
use crate::program::{Program, Word};
use crate::table::Entry;

/// Run up to the next instruction that needs more than slots and stack, pay for it and return it; `pc` stands on it.
///
/// What a proof excludes is FUEL_EXHAUSTED. Everything goes forward but END_LOOP, which checks the fuel.
#[inline(never)]
pub(crate) fn cycle(program: &Program<'_>, words: &mut [u64], execution: &mut Execution) -> Result<Word, Trap> {
    let (mut pc, mut top, mut fuel) = (usize::from(execution.pc), usize::from(execution.top), execution.fuel);
    let plain = !program.has_text;
    let found = loop {
        let Some(&[opcode, a, low, high]) = program.code.get(pc) else {
            break Err(Trap::FuelExhausted);
        };
        let b = usize::from(u16::from_le_bytes([low, high]));
        fuel = fuel.wrapping_add(1);
        let word = match opcode {
            code::LOAD => load(words, b),
            code::CONST => program.constant(b),
            code::PUSH_INT => i64::from(b as i16) as u64,
            code::PUSH_BOOL => u64::from(a),
            code::DUP => load(words, top.wrapping_sub(1)),
            code::SELECT => {
                top = top.wrapping_sub(3);
                let chosen = if load(words, top) as u32 != 0 { 1 } else { 2 };
                load(words, top.wrapping_add(chosen))
            }
            code::POP => {
                top = top.wrapping_sub(1);
                pc += 1;
                continue;
            }
            code::STORE if plain => {
                top = top.wrapping_sub(1);
                let word = load(words, top);
                store(words, b, word);
                pc += 1;
                continue;
            }
            code::JUMP => {
                pc = b;
                continue;
            }
            code::BRANCH => {
                top = top.wrapping_sub(1);
                pc = if load(words, top) as u32 != 0 { pc + 1 } else { b };
                continue;
            }
            code::LOOP => {
                top = top.wrapping_sub(1);
                fuel = fuel.wrapping_add(const { more(Op::Loop) });
                if !execution.enter(load(words, top), b) {
                    break Err(Trap::LoopBound);
                }
                pc += 1;
                continue;
            }
            code::END_LOOP => {
                fuel = fuel.wrapping_add(const { more(Op::EndLoop) });
                if fuel > program.fuel_max {
                    break Err(Trap::FuelExhausted);
                }
                pc = if execution.goes_on() { b } else { pc + 1 };
                continue;
            }
            code::LOOP_INDEX => execution.trip(a),
            code::ADD_I..=code::OR => {
                top = top.wrapping_sub(2);
                match of_two(opcode, load(words, top), load(words, top.wrapping_add(1)), &mut fuel) {
                    Ok(word) => word,
                    Err(trap) => break Err(trap),
                }
            }
            code::NEG_I..=code::F_TO_I => {
                top = top.wrapping_sub(1);
                match of_one(opcode, load(words, top), &mut fuel) {
                    Ok(word) => word,
                    Err(trap) => break Err(trap),
                }
            }
            _ => {
                fuel = fuel.wrapping_add(Entry::of(opcode).cost().wrapping_sub(1));
                break Ok(Word { opcode, a, b: b as u16 });
            }
        };
        store(words, top, word);
        top += 1;
        pc += 1;
    };
    (execution.pc, execution.top, execution.fuel) = (pc as u16, top as u16, fuel);
    found
}

impl Execution {
    /// Open a loop of so many trips; false when they are not within its bound.
    fn enter(&mut self, trips: u64, bound: usize) -> bool {
        if trips.wrapping_sub(1) >= bound as u64 {
            return false;
        }
        if let Some(open) = self.trips.get_mut(usize::from(self.loops)) {
            *open = (0, trips as u16);
        }
        self.loops = self.loops.wrapping_add(1);
        true
    }

    /// End a trip of the innermost loop, and the loop itself after its last one.
    fn goes_on(&mut self) -> bool {
        let innermost = self.loops.wrapping_sub(1);
        if let Some((trip, trips)) = self.trips.get_mut(usize::from(innermost)) {
            *trip = trip.wrapping_add(1);
            if trip < trips {
                return true;
            }
        }
        self.loops = innermost;
        false
    }

    /// The trip, from 0, of the loop so many levels out.
    fn trip(&self, levels: u8) -> u64 {
        let index = self.loops.wrapping_sub(1).wrapping_sub(levels);
        self.trips.get(usize::from(index)).map_or(0, |open| u64::from(open.0))
    }
}

/// A word that the verifier has seen to exist.
#[inline(always)]
pub(crate) fn load(words: &[u64], index: usize) -> u64 {
    words.get(index).copied().unwrap_or(0)
}

#[inline(always)]
pub(crate) fn store(words: &mut [u64], index: usize, word: u64) {
    if let Some(place) = words.get_mut(index) {
        *place = word;
    }
}
