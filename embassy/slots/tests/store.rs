//! What the store promises while the power stays on.

use eyeflow_slots::sim::{Geometry, NRF52, RP2040, STM32F4, STM32H7, SimFlash};
use eyeflow_slots::{Begin, Claim, Slot, Start, Store, StoreError};

fn id(number: u8) -> [u8; 32] {
    core::array::from_fn(|index| number.wrapping_mul(31).wrapping_add(index as u8))
}

fn body(number: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(7) ^ number).collect()
}

fn install<const UNIT: usize>(
    store: &mut Store<SimFlash<UNIT>, UNIT>,
    place: u8,
    number: u8,
    length: usize,
) -> Result<(), StoreError> {
    send(store, place, number, length, false)
}

fn send<const UNIT: usize>(
    store: &mut Store<SimFlash<UNIT>, UNIT>,
    place: u8,
    number: u8,
    length: usize,
    staged: bool,
) -> Result<(), StoreError> {
    let rule = format!("rule_{place}");
    let (rule, id) = (rule.as_bytes(), &id(number));
    let claim = Claim { rule, id, sequence: u64::from(number), length: length as u32, staged };
    let mut calls = 0;
    while let Begin::Wait(_) = store.begin(place, &claim)? {
        calls += 1;
        assert!(calls < 10_000, "begin never gets ready");
    }
    let bytes = body(number, length);
    for piece in bytes.chunks(112) {
        store.write(piece)?;
    }
    assert_eq!(store.finish()?, bytes);
    store.commit()?;
    Ok(())
}

fn running<const UNIT: usize>(store: &Store<SimFlash<UNIT>, UNIT>, place: u8) -> Option<u8> {
    let entry = store.entry(place)?;
    let number = entry.sequence as u8;
    assert_eq!(entry.id, id(number));
    assert_eq!(store.program(place).unwrap(), body(number, entry.length as usize));
    Some(number)
}

fn fresh<const UNIT: usize>(geometry: Geometry) -> Store<SimFlash<UNIT>, UNIT> {
    Store::open(SimFlash::new(geometry, 1))
}

fn again<const UNIT: usize>(store: Store<SimFlash<UNIT>, UNIT>) -> Store<SimFlash<UNIT>, UNIT> {
    let mut flash = store.into_flash();
    assert_eq!(flash.violations, 0);
    flash.reboot(3);
    Store::open(flash)
}

fn fills_and_updates<const UNIT: usize>(geometry: Geometry) {
    let mut store = fresh::<UNIT>(geometry);
    let largest = store.program_bytes_max() as usize;
    assert!(largest >= 4096, "{}: {largest}", geometry.name);
    for number in 1..=40_u8 {
        install(&mut store, number % 4, number, largest).unwrap();
        store.good(number % 4).unwrap();
        store.keep(number % 4, &[number; 1024]).unwrap();
        if number % 5 == 0 {
            store = again(store);
        }
        for place in 0..4 {
            let newest = (1..=number).rev().find(|n| n % 4 == place);
            assert_eq!(running(&store, place), newest, "{}", geometry.name);
        }
    }
    assert_eq!(store.kept(1), Some(&[37; 1024][..]));
    assert_eq!(store.into_flash().violations, 0);
}

#[test]
fn the_largest_programs_always_find_room() {
    fills_and_updates::<4>(STM32F4);
    fills_and_updates::<32>(STM32H7);
    fills_and_updates::<4>(NRF52);
    fills_and_updates::<256>(RP2040);
}

#[test]
fn the_longest_program_is_the_one_of_the_page() {
    // tests/unit/mcu/test_program_area.py expects the same of the compiler.
    assert_eq!(fresh::<4>(STM32F4).program_bytes_max(), 7320);
    assert_eq!(fresh::<4>(NRF52).program_bytes_max(), 7320);
    assert_eq!(fresh::<32>(STM32H7).program_bytes_max(), 15_456);
    assert_eq!(fresh::<256>(RP2040).program_bytes_max(), 6144);
    let small = Geometry { bank_bytes: 32768, ..RP2040 };
    assert_eq!(fresh::<256>(small).program_bytes_max(), 2048);
    assert_eq!(fresh::<4>(small).program_bytes_max(), 3224);
}

#[test]
fn a_flash_with_noise_holds_nothing() {
    for seed in 0..20 {
        let store = Store::<_, 4>::open(SimFlash::<4>::new(STM32F4, seed));
        assert!((0..4).all(|place| store.entry(place).is_none()));
        assert_eq!(store.generation(), 0);
    }
}

#[test]
fn faults_bring_the_last_known_good_program_back() {
    let mut store = fresh::<4>(NRF52);
    install(&mut store, 0, 1, 500).unwrap();
    assert!(!store.fault(0).unwrap(), "there is none to go back to");
    store.good(0).unwrap();
    install(&mut store, 0, 2, 500).unwrap();
    install(&mut store, 0, 3, 500).unwrap();
    assert!(store.fault(0).unwrap());
    assert_eq!(running(&store, 0), Some(1), "2 never proved itself");
    let store = again(store);
    assert_eq!(running(&store, 0), Some(1));
    assert!(store.entry(0).unwrap().good);
    assert_eq!(store.floor(b"rule_0"), 3, "3 was taken once");
}

#[test]
fn a_program_that_takes_the_board_down_is_given_up() {
    let mut store = fresh::<32>(STM32H7);
    install(&mut store, 2, 1, 500).unwrap();
    store.good(2).unwrap();
    install(&mut store, 2, 2, 500).unwrap();
    for _ in 0..3 {
        store = again(store);
        assert_eq!(store.start(2), Ok(Start::Run));
        assert_eq!(running(&store, 2), Some(2));
    }
    store = again(store);
    assert_eq!(store.start(2), Ok(Start::FellBack));
    assert_eq!(running(&store, 2), Some(1));
    assert_eq!(store.start(2), Ok(Start::Run));
    assert_eq!(store.start(0), Ok(Start::Empty));
}

#[test]
fn a_first_program_that_takes_the_board_down_is_stopped() {
    let mut store = fresh::<4>(STM32F4);
    install(&mut store, 0, 1, 500).unwrap();
    for _ in 0..3 {
        assert_eq!(store.start(0), Ok(Start::Run));
    }
    assert_eq!(store.start(0), Ok(Start::Stopped));
    assert_eq!(again(store).start(0), Ok(Start::Stopped));
}

#[test]
fn power_cycles_are_not_held_against_a_program() {
    let mut store = fresh::<4>(STM32F4);
    install(&mut store, 0, 1, 500).unwrap();
    for _ in 0..10 {
        store = again(store);
        assert_eq!(store.resume(0), Start::Run);
    }
    for _ in 0..3 {
        assert_eq!(store.start(0), Ok(Start::Run));
    }
    assert_eq!(store.resume(0), Start::Stopped);
    assert_eq!(store.resume(1), Start::Empty);
    assert_eq!(store.resume(9), Start::Empty);
}

#[test]
fn the_floor_survives_removal_and_cleaning_up() {
    let mut store = fresh::<256>(RP2040);
    install(&mut store, 0, 9, 500).unwrap();
    store.keep(0, b"params").unwrap();
    store.remove(0).unwrap();
    assert_eq!(running(&store, 0), None);
    assert_eq!(store.kept(0), None);
    for number in 1..=100 {
        install(&mut store, 1, number, 4000).unwrap();
    }
    assert!(store.flash().erases > 32);
    assert_eq!(again(store).floor(b"rule_0"), 9);
}

#[test]
fn marks_survive_cleaning_up() {
    let mut store = fresh::<4>(NRF52);
    install(&mut store, 0, 1, 500).unwrap();
    store.good(0).unwrap();
    install(&mut store, 0, 2, 500).unwrap();
    assert_eq!(store.start(0), Ok(Start::Run));
    assert_eq!(store.start(0), Ok(Start::Run));
    let generation = store.generation();
    for number in 1..=100 {
        install(&mut store, 1, number, 4000).unwrap();
    }
    assert!(store.generation() > generation);
    assert_eq!(running(&store, 0), Some(2));
    assert_eq!(store.previous(0).map(|entry| entry.good), Some(true));
    assert_eq!(store.start(0), Ok(Start::Run));
    assert_eq!(store.start(0), Ok(Start::FellBack));
    assert_eq!(running(&store, 0), Some(1));
}

#[test]
fn places_and_names() {
    let mut store = fresh::<4>(NRF52);
    assert_eq!(store.free_place(), Some(0));
    for place in 0..4 {
        install(&mut store, place, place + 1, 100).unwrap();
    }
    assert_eq!(store.free_place(), None);
    assert_eq!(store.place_of(b"rule_2"), Some(2));
    assert_eq!(store.place_of(b"rule_"), None);
    store.remove(2).unwrap();
    assert_eq!(again(store).free_place(), Some(2));
}

#[test]
fn misuse_is_refused() {
    let mut store = fresh::<4>(NRF52);
    assert_eq!(store.write(b"x"), Err(StoreError::Order));
    assert_eq!(store.finish().map(<[u8]>::len), Err(StoreError::Order));
    assert_eq!(store.commit(), Err(StoreError::Order));
    assert_eq!(store.keep(0, b"x"), Err(StoreError::Order));
    let claim = Claim { rule: b"big", id: &id(1), sequence: 1, length: store.program_bytes_max() + 1, staged: false };
    assert_eq!(store.begin(0, &claim), Err(StoreError::TooBig));
}

#[test]
fn an_abandoned_program_changes_nothing() {
    let mut store = fresh::<256>(RP2040);
    install(&mut store, 0, 1, 1000).unwrap();
    for _ in 0..50 {
        let claim = Claim { rule: b"rule_0", id: &id(2), sequence: 2, length: 3000, staged: false };
        while store.begin(0, &claim).unwrap() != Begin::Ready {}
        store.write(&[7; 900]).unwrap();
        store.abandon();
        assert_eq!(running(&store, 0), Some(1));
    }
    assert_eq!(running(&again(store), 0), Some(1));
}

#[test]
fn what_was_received_can_be_read_back() {
    let mut store = fresh::<32>(STM32H7);
    let claim = Claim { rule: b"rule_0", id: &id(2), sequence: 2, length: 100, staged: false };
    while store.begin(0, &claim).unwrap() != Begin::Ready {}
    let bytes = body(2, 100);
    store.write(&bytes[..45]).unwrap();
    for (index, &byte) in bytes[..45].iter().enumerate() {
        assert_eq!(store.received(index as u32), Some(byte));
    }
    assert_eq!(store.received(45), None);
    assert_eq!(store.progress(), Some((45, 100)));
}

#[test]
fn a_flipped_bit_in_a_program_brings_the_one_before_back() {
    let mut store = fresh::<4>(NRF52);
    install(&mut store, 0, 1, 500).unwrap();
    install(&mut store, 0, 2, 500).unwrap();
    let offset = store.entry(0).unwrap().offset;
    let mut flash = store.into_flash();
    flash.flip(eyeflow_slots::Bank::A, offset + 77, 3);
    assert_eq!(running(&Store::<_, 4>::open(flash), 0), Some(1));
}

fn stage<const UNIT: usize>(store: &mut Store<SimFlash<UNIT>, UNIT>, place: u8, number: u8, length: usize) {
    send(store, place, number, length, true).unwrap();
}

fn numbers<const UNIT: usize>(store: &Store<SimFlash<UNIT>, UNIT>, place: u8) -> [Option<u8>; 3] {
    [Slot::Running, Slot::Previous, Slot::Staged].map(|slot| {
        let entry = store.entry_in(place, slot)?;
        let number = entry.sequence as u8;
        assert_eq!(entry.id, id(number));
        assert_eq!(store.bytes_of(&entry).unwrap(), body(number, entry.length as usize));
        Some(number)
    })
}

#[test]
fn a_staged_program_waits_runs_on_request_and_is_taken_back() {
    let mut store = fresh::<4>(NRF52);
    install(&mut store, 0, 1, 500).unwrap();
    store.good(0).unwrap();
    stage(&mut store, 0, 2, 500);
    store = again(store);
    assert_eq!(numbers(&store, 0), [Some(1), None, Some(2)]);
    assert_eq!(store.floor(b"rule_0"), 2, "it was taken, so nothing older is");
    store.switch(0).unwrap();
    store = again(store);
    assert_eq!(numbers(&store, 0), [Some(2), Some(1), None]);
    assert!(store.fault(0).unwrap());
    store = again(store);
    assert_eq!(numbers(&store, 0), [Some(1), None, None]);
    assert!(store.entry(0).unwrap().good);
    store.switch(0).unwrap();
    assert_eq!(numbers(&store, 0), [Some(1), None, None], "nothing is staged any more");
}

#[test]
fn a_rule_that_is_only_staged_has_its_place() {
    let mut store = fresh::<32>(STM32H7);
    stage(&mut store, 0, 1, 500);
    assert_eq!((store.place_of(b"rule_0"), store.free_place()), (Some(0), Some(1)));
    assert_eq!((store.resume(0), store.start(0)), (Start::Empty, Ok(Start::Empty)));
    assert!(!store.fault(0).unwrap());
    store.drop_staged(0).unwrap();
    store = again(store);
    assert_eq!((numbers(&store, 0), store.free_place()), ([None; 3], Some(0)));
    assert_eq!(store.floor(b"rule_0"), 1);
    stage(&mut store, 0, 2, 500);
    store.remove(0).unwrap();
    assert_eq!((numbers(&again(store), 0)), [None; 3]);
}

#[test]
fn another_program_of_the_rule_takes_the_place_of_a_staged_one() {
    let mut store = fresh::<4>(NRF52);
    install(&mut store, 0, 1, 500).unwrap();
    stage(&mut store, 0, 2, 500);
    stage(&mut store, 0, 3, 500);
    assert_eq!(numbers(&store, 0), [Some(1), None, Some(3)]);
    install(&mut store, 0, 4, 500).unwrap();
    assert_eq!(numbers(&again(store), 0), [Some(4), Some(1), None]);
}

#[test]
fn what_is_staged_and_switched_survives_cleaning_up() {
    let mut store = fresh::<256>(RP2040);
    install(&mut store, 0, 1, 500).unwrap();
    store.good(0).unwrap();
    stage(&mut store, 0, 2, 500);
    store.switch(0).unwrap();
    assert!(store.fault(0).unwrap());
    stage(&mut store, 0, 2, 500);
    store.switch(0).unwrap();
    stage(&mut store, 0, 3, 500);
    let generation = store.generation();
    for number in 1..=100 {
        install(&mut store, 1, number, 4000).unwrap();
    }
    assert!(store.generation() > generation + 1);
    assert_eq!(numbers(&again(store), 0), [Some(2), Some(1), Some(3)]);
}

/// The staged programs of all places at once, switched, and taken back.
fn stages_the_largest<const UNIT: usize>(geometry: Geometry) {
    let mut store = fresh::<UNIT>(geometry);
    let largest = store.program_bytes_max() as usize;
    for round in 0..6 {
        let first = 1 + 8 * round;
        for place in 0..4 {
            install(&mut store, place, first + place, largest).unwrap();
            store.good(place).unwrap();
            store.keep(place, &[round; 1024]).unwrap();
        }
        for place in 0..4 {
            stage(&mut store, place, first + 4 + place, largest);
            assert_eq!(running(&store, place), Some(first + place));
            store.keep(place, &[round + 1; 1024]).unwrap();
        }
        store = again(store);
        for place in 0..4 {
            assert_eq!(numbers(&store, place)[2], Some(first + 4 + place), "{}", geometry.name);
            store.switch(place).unwrap();
            assert_eq!(numbers(&store, place), [Some(first + 4 + place), Some(first + place), None]);
        }
        if round % 2 == 0 {
            for place in 0..4 {
                assert!(store.fault(place).unwrap());
            }
        }
    }
    assert_eq!(store.into_flash().violations, 0);
}

#[test]
fn the_largest_programs_are_staged_on_all_places() {
    stages_the_largest::<4>(STM32F4);
    stages_the_largest::<32>(STM32H7);
    stages_the_largest::<4>(NRF52);
    stages_the_largest::<256>(RP2040);
}
