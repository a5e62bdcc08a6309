//! Noise, damage and malice: nothing panics, nothing damaged is taken, and the next good frame gets through.

use crate::fixture::{Rig, announce, program};
use eyeflow_link::{Broken, History, Lz, Receiver, Request, WIRE_BYTES_MAX};
use eyeflow_slots::sim::Random;

const NOISE_BYTES: usize = 1_000_000;

fn hello() -> Vec<u8> {
    let mut wire = vec![];
    eyeflow_link::send(Request::Hello as u8, 9, b"", &mut |bytes| wire.extend_from_slice(bytes));
    wire
}

#[test]
fn a_million_random_bytes_are_no_frame_and_the_next_frame_arrives() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let mut rig = Rig::new();
        let mut receiver = Receiver::new();
        for index in 0..NOISE_BYTES {
            // Every other run is rich in delimiters, so that more stretches have the length of a frame.
            let byte = if seed % 2 == 1 && random.byte() < 25 { 0 } else { random.byte() };
            assert_eq!(receiver.push(byte), None, "seed {seed}: byte {index} ends a false frame");
            assert!(rig.feed(&[byte]).is_empty());
        }
        assert!(receiver.counts().1 > 3000, "{:?}", receiver.counts());
        assert_eq!(crate::fixture::frames(&rig.feed(&hello())).len(), 1);
    }
}

#[test]
fn every_single_damaged_bit_of_a_frame_is_noticed() {
    let good = hello();
    for bit in 0..good.len() * 8 {
        let mut wire = good.clone();
        wire[bit / 8] ^= 1 << (bit % 8);
        wire.extend(&good);
        let frames = crate::fixture::frames(&wire);
        // Damage to the first delimiter hides it only; damage to the last one joins both frames.
        let inside = (8..8 * (good.len() - 1)).contains(&bit);
        assert!(frames.len() <= 2 && (!inside || frames.len() == 1), "bit {bit}: {frames:?}");
        assert!(frames.iter().all(|(kind, sequence, _)| (*kind, *sequence) == (1, 9)));
    }
}

#[test]
fn lost_doubled_and_swapped_bytes_are_noticed() {
    let mut random = Random::new(3);
    let mut wire = vec![];
    let payload: Vec<u8> = (0..100).collect();
    eyeflow_link::send(5, 6, &payload, &mut |bytes| wire.extend_from_slice(bytes));
    for _ in 0..20_000 {
        let mut damaged = wire.clone();
        let at = 1 + random.next() as usize % (wire.len() - 2);
        match random.next() % 3 {
            0 => drop(damaged.remove(at)),
            1 => damaged.insert(at, damaged[at]),
            _ => damaged[at] = damaged[at].wrapping_add(1 + random.byte() % 255),
        }
        for (kind, sequence, found) in crate::fixture::frames(&damaged) {
            assert_eq!((kind, sequence, &found), (5, 6, &payload), "a false frame");
        }
    }
}

#[test]
fn frames_of_every_length_come_back() {
    let mut random = Random::new(4);
    for length in 0..=eyeflow_link::PAYLOAD_BYTES_MAX {
        for zeros in [0, 128, 255] {
            let payload: Vec<u8> = (0..length).map(|_| if random.byte() < zeros { 0 } else { random.byte() }).collect();
            let mut wire = vec![];
            eyeflow_link::send(0xC0, 200, &payload, &mut |bytes| wire.extend_from_slice(bytes));
            assert!(wire.len() <= WIRE_BYTES_MAX);
            assert!(wire[1..wire.len() - 1].iter().all(|&byte| byte != 0));
            assert_eq!(crate::fixture::frames(&wire), [(0xC0, 200, payload)]);
        }
    }
}

#[test]
fn our_own_answers_echoed_by_the_wiring_are_ignored() {
    let mut rig = Rig::new();
    let answer = rig.feed(&hello());
    assert!(rig.feed(&answer).is_empty());
}

#[test]
fn random_requests_never_panic_and_install_nothing() {
    let mut random = Random::new(8);
    let kinds = [1, 2, 3, 4, 5, 6, 0x10, 0x11, 0x12, 0x13, 0x14, 0x20, 0x21, 0x22, 0x30, 0x55];
    let mut rig = Rig::new();
    let good = announce(&program("pump", 3, b"text"), "pump", 3);
    for _ in 0..100_000 {
        let kind = kinds[random.next() as usize % kinds.len()];
        let length = random.next() as usize % 129;
        let mut payload: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        if kind == 0x10 && random.byte() < 128 {
            payload = good.clone();
            let at = random.next() as usize % payload.len();
            payload[at] = random.byte();
            payload[41..44].fill(0);
            payload[45..48].fill(0);
        }
        if kind == 0x11 && random.byte() < 200 && payload.len() > 4 {
            payload[..4].fill(0);
        }
        rig.ask(kind, &payload);
    }
    assert!((0..4).all(|place| rig.store.entry(place).is_none()));
    assert_eq!(rig.store.flash().violations, 0);
}

/// Decoded bytes in memory.
struct Memory(Vec<u8>);

impl History for Memory {
    fn put(&mut self, byte: u8) -> Result<(), Broken> {
        self.0.push(byte);
        Ok(())
    }

    fn get(&self, position: u32) -> Option<u8> {
        self.0.get(position as usize).copied()
    }
}

#[test]
fn random_and_damaged_compressed_programs_never_panic_or_overflow() {
    let mut random = Random::new(11);
    let mut finished = 0;
    for round in 0..50_000_u32 {
        let size = 1 + random.next() as u32 % 400;
        let length = 1 + random.next() as usize % 200;
        let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        let mut lz = Lz::new(size, round % 2 == 0);
        let mut memory = Memory(vec![]);
        let cut = random.next() as usize % length;
        let first = lz.feed(&bytes[..cut], false, &mut memory);
        let second = first.and_then(|()| lz.feed(&bytes[cut..], true, &mut memory));
        assert!(memory.0.len() as u32 <= size);
        if second.is_ok() {
            assert_eq!(memory.0.len() as u32, size);
            finished += 1;
        }
    }
    assert!(finished < 1000, "nearly everything random is refused");
}
