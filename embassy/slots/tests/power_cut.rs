//! The power is cut at every byte that is programmed and at every stage of every erase. After each cut the board has
//! what it had before or what it should have now; never nothing, never a mix. Controls show that the harness can fail.

use eyeflow_slots::sim::{ERASE_STEPS, Geometry, NRF52, RP2040, STM32F4, STM32H7, SimFlash};
use eyeflow_slots::{Bank, Begin, Claim, Flash, FlashError, Slot, Store, StoreError};

type Board<const UNIT: usize> = Store<SimFlash<UNIT>, UNIT>;
type Change<const UNIT: usize> = fn(&mut Board<UNIT>) -> Result<(), StoreError>;

fn id(number: u8) -> [u8; 32] {
    core::array::from_fn(|index| number.wrapping_mul(31).wrapping_add(index as u8))
}

fn body(number: u8) -> Vec<u8> {
    (0..90 + number).map(|index| index.wrapping_mul(7) ^ number).collect()
}

fn push<F: Flash, const UNIT: usize>(store: &mut Store<F, UNIT>, place: u8, number: u8) -> Result<(), StoreError> {
    send(store, place, number, false)
}

fn stage_in<F: Flash, const UNIT: usize>(store: &mut Store<F, UNIT>, place: u8, number: u8) -> Result<(), StoreError> {
    send(store, place, number, true)
}

fn send<F: Flash, const UNIT: usize>(
    store: &mut Store<F, UNIT>,
    place: u8,
    number: u8,
    staged: bool,
) -> Result<(), StoreError> {
    let rule = [b'r', b'0' + place];
    let bytes = body(number);
    let claim = Claim { rule: &rule, id: &id(number), sequence: u64::from(number), length: bytes.len() as u32, staged };
    for _ in 0..1000 {
        if store.begin(place, &claim)? == Begin::Ready {
            for piece in bytes.chunks(50) {
                store.write(piece)?;
            }
            assert_eq!(store.finish()?, bytes);
            return store.commit().map(|_| ());
        }
    }
    panic!("begin never gets ready");
}

/// What the board has: for each place the numbers of its programs, running, before it, and staged; whether the running one
/// proved itself; its floor and what it keeps.
type Seen = Vec<([Option<u8>; 3], bool, u64, Option<Vec<u8>>)>;

fn see<const UNIT: usize>(store: &Board<UNIT>) -> Seen {
    let place = |place: u8| {
        let numbers = [Slot::Running, Slot::Previous, Slot::Staged].map(|slot| {
            store.entry_in(place, slot).map(|entry| {
                let number = entry.sequence as u8;
                assert_eq!(entry.id, id(number), "a mix");
                assert_eq!(store.bytes_of(&entry).unwrap(), body(number), "a mix");
                number
            })
        });
        let floor = store.floor(&[b'r', b'0' + place]);
        (numbers, store.entry(place).is_some_and(|entry| entry.good), floor, store.kept(place).map(<[u8]>::to_vec))
    };
    (0..4).map(place).collect()
}

/// Three rules: the first with a good program and one on probation, the second with one staged, the third switched to
/// one that was.
fn start<const UNIT: usize>(geometry: Geometry) -> Board<UNIT> {
    let mut store = Store::open(SimFlash::new(geometry, 7));
    for (place, number) in [(0, 1), (1, 2), (2, 3)] {
        push(&mut store, place, number).unwrap();
        store.good(place).unwrap();
    }
    push(&mut store, 0, 4).unwrap();
    stage_in(&mut store, 1, 5).unwrap();
    stage_in(&mut store, 2, 6).unwrap();
    store.switch(2).unwrap();
    store.keep(0, b"before").unwrap();
    store
}

/// The same, with a log so full that the next change has to clean up first.
fn full<const UNIT: usize>(geometry: Geometry) -> Board<UNIT> {
    let mut store = start::<UNIT>(geometry);
    let generation = store.generation();
    let mut before = store.flash().clone();
    // Programs that never came to their end fill it fast, small data to the brim.
    for wide in [true, false] {
        store = Store::open(before.clone());
        loop {
            if wide {
                let claim = Claim { rule: b"r3", id: &id(9), sequence: 9, length: 4000, staged: true };
                store.begin(3, &claim).unwrap();
                store.abandon();
            }
            store.keep(1, &[8; 8]).unwrap();
            if store.generation() > generation {
                break;
            }
            before = store.flash().clone();
        }
    }
    Store::open(before)
}

/// Cut the power after `steps` of the change; gives the flash, and whether the cut came before its end.
fn cut<const UNIT: usize>(flash: &SimFlash<UNIT>, change: Change<UNIT>, steps: u64) -> (SimFlash<UNIT>, bool) {
    let mut flash = flash.clone();
    flash.cut_after(steps, steps ^ 0x55);
    let mut store = Store::open(flash);
    let done = change(&mut store);
    let flash = store.into_flash();
    assert_eq!(done.is_err(), flash.is_off(), "an error is reported exactly when the power was cut");
    let off = flash.is_off();
    (flash, off)
}

fn at_every_step<const UNIT: usize>(board: &Board<UNIT>, change: Change<UNIT>, stride: u64) -> u64 {
    let before = see(board);
    let flash = board.flash().clone();
    let mut changed = Store::open(flash.clone());
    change(&mut changed).unwrap();
    let after = see(&changed);
    assert_ne!(before, after, "the change can be seen");
    for steps in (0..).step_by(stride as usize) {
        let (mut torn, off) = cut(&flash, change, steps);
        for boot in 0..2 {
            torn.reboot(steps.wrapping_mul(3) + boot);
            let store = Store::open(torn);
            let seen = see(&store);
            assert!(seen == before || seen == after, "cut after {steps}: {seen:?}");
            torn = store.into_flash();
        }
        recovers(torn, change, &after, steps);
        if !off {
            return steps;
        }
    }
    unreachable!()
}

/// The same change, tried again after the cut, and cut once more on the way, comes to its end.
fn recovers<const UNIT: usize>(mut torn: SimFlash<UNIT>, change: Change<UNIT>, after: &Seen, steps: u64) {
    torn.cut_after(steps % 977, steps);
    let mut store = Store::open(torn);
    let _ = change(&mut store);
    let mut flash = store.into_flash();
    for boot in 0..2 {
        flash.reboot(steps + boot);
        let mut store = Store::open(flash);
        if see(&store) != *after {
            change(&mut store).unwrap();
        }
        assert_eq!(see(&store), *after, "tried again after a cut after {steps}");
        flash = store.into_flash();
        assert_eq!(flash.violations, 0, "a unit was programmed twice");
    }
}

fn update<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    push(store, 0, 7)
}

fn stage<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    stage_in(store, 0, 7)
}

fn switch<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.switch(1)
}

fn drop_staged<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.drop_staged(1)
}

fn switch_back<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.fault(2).map(|_| ())
}

fn go_back<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    // A second attempt must not go back further than the last known good program.
    if store.entry(0).is_some_and(|entry| entry.sequence == 4) { store.fault(0).map(|_| ()) } else { Ok(()) }
}

fn remove<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.remove(0)
}

fn prove<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.good(0)
}

fn keep<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.keep(0, b"afterwards")
}

fn everything<const UNIT: usize>(geometry: Geometry) {
    let plain = start::<UNIT>(geometry);
    for change in [update, stage, switch, drop_staged, switch_back, go_back, remove, prove, keep] {
        assert!(at_every_step::<UNIT>(&plain, change, 1) > 30);
    }
    let cleaning = full::<UNIT>(geometry);
    let sectors = u64::from(plain.flash().sectors(Bank::A));
    let steps = at_every_step::<UNIT>(&cleaning, update, 1);
    assert!(steps > ERASE_STEPS * sectors + 1000, "{}: {steps} steps", geometry.name);
    at_every_step::<UNIT>(&cleaning, keep, 13);
    at_every_step::<UNIT>(&cleaning, stage, 13);
}

#[test]
fn stm32f4() {
    everything::<4>(STM32F4);
}

#[test]
fn stm32h7() {
    everything::<32>(STM32H7);
}

#[test]
fn nrf52() {
    everything::<4>(NRF52);
}

#[test]
fn rp2040() {
    everything::<256>(RP2040);
}

/// A flash whose writes arrive in the reverse order: the commit word first. Erases stay in front.
struct Reversed {
    shadow: SimFlash<4>,
    erases: Vec<(Bank, u32)>,
    writes: Vec<(Bank, u32, Vec<u8>)>,
}

impl Flash for Reversed {
    const UNIT: usize = 4;
    const DATA_BYTES_MAX: u32 = 1024;

    fn bank_bytes(&self) -> u32 {
        self.shadow.bank_bytes()
    }

    fn sectors(&self, bank: Bank) -> u32 {
        self.shadow.sectors(bank)
    }

    fn read(&self, bank: Bank, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.shadow.read(bank, offset, bytes)
    }

    fn program(&mut self, bank: Bank, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.writes.push((bank, offset, bytes.to_vec()));
        self.shadow.program(bank, offset, bytes)
    }

    fn erase(&mut self, bank: Bank, sector: u32) -> Result<(), FlashError> {
        self.erases.push((bank, sector));
        self.shadow.erase(bank, sector)
    }

    fn mapped(&self, bank: Bank, offset: u32, length: u32) -> Result<&[u8], FlashError> {
        self.shadow.mapped(bank, offset, length)
    }
}

impl Reversed {
    fn replay(&self, flash: &mut SimFlash<4>) -> Result<(), FlashError> {
        self.erases.iter().try_for_each(|&(bank, sector)| flash.erase(bank, sector))?;
        self.writes.iter().rev().try_for_each(|(bank, offset, bytes)| flash.program(*bank, *offset, bytes))
    }
}

#[test]
fn control_the_commit_word_first_loses_programs() {
    let board = full::<4>(NRF52);
    let before = see(&board);
    let flash = board.into_flash();
    let reversed = Reversed { shadow: flash.clone(), erases: vec![], writes: vec![] };
    let mut store = Store::<_, 4>::open(reversed);
    stage_in(&mut store, 0, 7).unwrap();
    let reversed = store.into_flash();
    let mut lost = 0;
    for steps in (0..6000).step_by(101) {
        let mut torn = flash.clone();
        torn.cut_after(steps, 1);
        let _ = reversed.replay(&mut torn);
        torn.reboot(2);
        let seen = see(&Store::open(torn));
        lost += u32::from(seen != before && seen[0].0[2] != Some(7));
    }
    assert!(lost > 3, "the harness would not notice a commit word that comes first");
}

/// Without a second slot a host would take the running program away and push the other one.
fn switch_without_a_slot<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    store.remove(1)?;
    push(store, 1, 5)
}

#[test]
#[should_panic(expected = "cut after")]
fn control_a_switch_in_two_steps_is_noticed() {
    at_every_step::<4>(&start::<4>(NRF52), switch_without_a_slot, 1);
}

#[test]
fn control_a_flash_that_forgets_is_noticed() {
    let board = start::<4>(STM32F4);
    let before = see(&board);
    let offset = board.entry(0).unwrap().offset;
    let mut flash = board.into_flash();
    flash.flip(Bank::A, offset + 3, 0);
    assert_ne!(see(&Store::open(flash)), before);
}
