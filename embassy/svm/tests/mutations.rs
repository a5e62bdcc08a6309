//! Mutated programs are refused or run to an outcome; none panics, none overflows, none ends beyond its proven fuel.
#![allow(missing_docs)]

mod corpus;

use corpus::{Owned, Scripted, Setup};
use eyeflow_svm::{Event, Program, Status, Value, ValueType, verify, verify_mcu};
use std::collections::BTreeSet;

const MUTATIONS: usize = 100_000;

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn value(&mut self, value_type: ValueType) -> Owned {
        let word = self.next();
        match value_type {
            ValueType::Bool => Owned::Bool(word & 1 == 1),
            ValueType::Int => Owned::Int(if word & 3 == 0 { word as i64 } else { (word % 9) as i64 - 2 }),
            ValueType::Float => Owned::Float(f64::from_bits(word)),
            ValueType::Text => Owned::Text(b"a".to_vec()),
        }
    }
}

fn bases() -> Vec<Vec<u8>> {
    let groups = ["numbers", "time", "control", "world"];
    let cases = groups.iter().flat_map(|group| corpus::load(group));
    let programs: BTreeSet<Vec<u8>> = cases.map(|case| corpus::unhex(case["program"].as_str().unwrap())).collect();
    programs.into_iter().collect()
}

fn mutated(random: &mut Random, base: &[u8]) -> Vec<u8> {
    let mut data = base.to_vec();
    for _ in 0..1 + random.below(3) {
        let at = random.below(data.len().max(1));
        let Some(byte) = data.get_mut(at) else { break };
        match random.below(8) {
            0..=2 => *byte ^= 1 << random.below(8),
            3 => *byte = random.next() as u8,
            4 => *byte = byte.wrapping_add(1),
            5 => *byte = 0xFF,
            6 => data.truncate(at),
            _ => data.insert(at, random.next() as u8),
        }
    }
    data
}

/// Run a few events with any inputs, answers and state; true when one ended well.
fn run(random: &mut Random, program: &Program<'_>) -> bool {
    let verified = verify(program).unwrap();
    let mut setup = Setup::new(&verified);
    let base = program.regions.state_base();
    let slots = base..base + usize::from(program.regions.state);
    let state: Vec<Owned> = slots.map(|slot| random.value(program.slot(slot).unwrap().value_type)).collect();
    setup.set(&verified, &[], &state);
    let mut well = false;
    for step in 0..3 {
        let trigger = random.below(program.triggers());
        let types = corpus::input_types(program, trigger);
        let inputs: Vec<Owned> = types.into_iter().map(|value_type| random.value(value_type)).collect();
        let inputs: Vec<Value<'_>> = inputs.iter().map(Owned::borrow).collect();
        let event = Event { trigger, time_us: step * 1_000_000, utc_offset_us: 3_600_000_000, inputs: &inputs };
        let answers = (0..8).map(|_| Some(random.value(ValueType::Int))).collect();
        let found = setup.run(&verified, &event, &mut Scripted::new(answers));
        assert!(found.fuel <= program.limits().fuel_max);
        well |= found.status == Status::Ok;
    }
    well
}

#[test]
fn mutants_are_refused_or_run() {
    let (bases, mut random) = (bases(), Random(20_261_124));
    let (mut decoded, mut proven, mut well) = (0, 0, 0);
    for _ in 0..MUTATIONS {
        let base = random.below(bases.len());
        let data = mutated(&mut random, &bases[base]);
        let Ok(program) = Program::decode(&data) else { continue };
        decoded += 1;
        let _ = verify_mcu(&program);
        if verify(&program).is_ok() {
            proven += 1;
            well += usize::from(run(&mut random, &program));
        }
    }
    assert!(decoded > proven && proven > MUTATIONS / 100 && well > MUTATIONS / 200, "{decoded} {proven} {well}");
}

#[test]
fn any_bytes_are_refused() {
    let mut random = Random(7);
    for size in 0..2_000 {
        let mut data: Vec<u8> = (0..size % 300).map(|_| random.next() as u8).collect();
        if size % 2 == 0 {
            let head = b"\x7fSVM\x02\x02\x01\x02";
            data.iter_mut().zip(head).for_each(|(place, byte)| *place = *byte);
        }
        assert!(Program::decode(&data).is_err());
    }
}
