//! What comes back after a restart, in the same program and in another version, and across power cuts at every byte.

use eyeflow_slots::sim::{Geometry, NRF52, RP2040, STM32F4, STM32H7, SimFlash};
use eyeflow_slots::{Begin, Claim, Store, StoreError};
use eyeflow_state::{Clock, Restored, digest, record_bytes_max, restore, save};
use eyeflow_svm::{Instance, PartKind, Program, Value, Verified, verify_mcu};

const CLOCK: Clock = Clock { last_us: 1_790_000_000_000_000, told: true };
const LIMIT: u64 = 1;

fn program(name: &str) -> Vec<u8> {
    let line = include_str!("programs.txt").lines().find(|line| line.split(' ').next() == Some(name));
    let hex = line.and_then(|line| line.split(' ').nth(1)).expect("a program of that name");
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A program on its memory.
struct Running<'a> {
    verified: Verified<'a>,
    words: Vec<u64>,
    bytes: Vec<u8>,
}

impl<'a> Running<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let verified = verify_mcu(&Program::decode(bytes).unwrap()).unwrap();
        let needs = verified.needs();
        let mut new = Self { verified, words: vec![0; needs.instance_words], bytes: vec![0; needs.instance_bytes] };
        Instance::new(&verified, &mut new.words, &mut new.bytes).unwrap();
        new
    }

    fn instance(&mut self) -> Instance<'_> {
        Instance::keep(&self.verified, &mut self.words, &mut self.bytes).unwrap()
    }

    /// The first slot of a parameter, a variable or a time word, by a word of its own.
    fn slot(&self, wanted: &str) -> usize {
        let mut found = None;
        self.verified.program().durable(&mut |part| {
            let name = match part.kind {
                PartKind::Hold => "for".to_string(),
                PartKind::Window => "window".to_string(),
                PartKind::Timer(index) => format!("timer {index}"),
                _ => String::from_utf8_lossy(part.name).into_owned(),
            };
            if name == wanted {
                found = Some(part.base);
            }
        });
        found.unwrap_or_else(|| panic!("no {wanted}"))
    }

    fn set(&mut self, name: &str, offset: usize, value: Value<'_>) {
        let slot = self.slot(name) + offset;
        let program = *self.verified.program();
        self.instance().set(&program, slot, value).unwrap();
    }

    fn get(&mut self, name: &str, offset: usize) -> String {
        let slot = self.slot(name) + offset;
        let program = *self.verified.program();
        match self.instance().get(&program, slot).unwrap() {
            Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
        }
    }

    /// Some life: values that no initial state has.
    fn live(&mut self, trips: i64) {
        self.set("limit", 0, Value::Float(75.5));
        self.set("trips", 0, Value::Int(trips));
        self.set("armed", 0, Value::Bool(false));
        self.set("label", 0, Value::Text(format!("hot {trips}").as_bytes()));
        self.set("peaks", 0, Value::Int(2));
        self.set("peaks", 1, Value::Float(81.5));
        self.set("peaks", 2, Value::Float(trips as f64));
        self.set("gone", 0, Value::Int(99));
        self.set("for", 0, Value::Int(CLOCK.last_us - 1));
        self.set("window", 1, Value::Int(1));
        self.set("timer 2", 0, Value::Int(CLOCK.last_us - 5));
        self.set("timer 3", 0, Value::Bool(true));
    }

    fn record(&mut self) -> Vec<u8> {
        let mut record = vec![0; record_bytes_max(self.words.len() + self.bytes.len().div_ceil(8))];
        let verified = self.verified;
        let length = save(&verified, &self.instance(), CLOCK, LIMIT, &mut record).unwrap();
        record.truncate(length);
        record
    }

    fn restore(&mut self, record: &[u8]) -> Option<Restored> {
        let verified = self.verified;
        restore(&verified, &mut self.instance(), record)
    }

    fn trips(&mut self) -> (String, String, String) {
        (self.get("trips", 0), self.get("label", 0), self.get("peaks", 2))
    }
}

fn lived(bytes: &[u8]) -> Running<'_> {
    let mut running = Running::new(bytes);
    running.live(41);
    running
}

#[test]
fn everything_comes_back_but_holds_and_windows() {
    let bytes = program("first");
    let record = lived(&bytes).record();
    let mut again = Running::new(&bytes);
    assert_eq!(again.restore(&record), Some(Restored { clock: CLOCK, params_set: LIMIT }));
    let fields = ["limit", "trips", "armed", "label", "peaks", "gone"].map(|name| again.get(name, 0));
    assert_eq!(fields, ["75.5", "41", "false", "hot 41", "2", "99"]);
    assert_eq!([1, 2].map(|index| again.get("peaks", index)), ["81.5", "41"]);
    assert_eq!(again.get("quiet", 0), "600000000", "a parameter that was not set keeps its default");
    assert_eq!(again.get("timer 2", 0), (CLOCK.last_us - 5).to_string(), "a cooldown goes on");
    assert_eq!(again.get("timer 3", 0), "true", "an edge is not seen twice");
    assert_eq!(again.get("for", 0), i64::MIN.to_string(), "nobody looked in between");
    assert_eq!(again.get("window", 1), "0");
}

#[test]
fn another_version_with_the_same_code_keeps_its_time_words_and_has_its_own_defaults() {
    let (first, second) = (program("first"), program("same_code"));
    let mut new = Running::new(&second);
    new.restore(&lived(&first).record()).unwrap();
    assert_eq!(new.get("timer 2", 0), (CLOCK.last_us - 5).to_string());
    assert_eq!(new.get("limit", 0), "75.5");
    assert_eq!(new.get("quiet", 0), "300000000");
}

#[test]
fn a_parameter_outside_of_the_new_bounds_has_its_default() {
    let (first, second) = (program("first"), program("same_code"));
    let mut old = lived(&first);
    old.set("limit", 0, Value::Float(120.0));
    let mut new = Running::new(&second);
    assert_eq!(new.restore(&old.record()).unwrap().params_set, 0);
    assert_eq!(new.get("limit", 0), "80");
}

#[test]
fn other_code_takes_over_what_has_the_same_name_and_type() {
    let (first, second) = (program("first"), program("other"));
    let mut new = Running::new(&second);
    new.restore(&lived(&first).record()).unwrap();
    let fields = ["limit", "trips", "label", "added", "gone"].map(|name| new.get(name, 0));
    assert_eq!(fields, ["75.5", "41", "hot 41", "3", "1.5"]);
    assert_eq!(new.get("timer 2", 0), i64::MIN.to_string(), "nothing tells one time word from another");
    assert_eq!(new.get("timer 3", 0), "false");
}

#[test]
fn the_digest_is_of_the_values_and_not_of_the_clock() {
    let bytes = program("first");
    let mut running = lived(&bytes);
    let record = running.record();
    let mut later = record.clone();
    later[4] ^= 1;
    assert_eq!(digest(&record), digest(&later));
    running.set("trips", 0, Value::Int(42));
    assert_ne!(digest(&record), digest(&running.record()));
}

#[test]
fn no_bytes_do_harm() {
    let bytes = program("first");
    let record = lived(&bytes).record();
    for length in 0..record.len() {
        Running::new(&bytes).restore(&record[..length]);
    }
    for bit in 0..record.len() * 8 {
        let mut damaged = record.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut running = Running::new(&bytes);
        running.restore(&damaged);
        assert!(running.get("label", 0).len() <= 24);
    }
    assert_eq!(Running::new(&bytes).restore(&[]), None);
    assert_eq!(Running::new(&bytes).restore(&[2; 64]), None);
}

#[test]
fn a_record_that_does_not_fit_is_none() {
    let bytes = program("first");
    let mut running = lived(&bytes);
    let length = running.record().len();
    let verified = running.verified;
    for room in 0..length {
        assert_eq!(save(&verified, &running.instance(), CLOCK, LIMIT, &mut vec![0; room]), None);
    }
}

#[test]
fn a_clock_that_is_set_moves_what_time_words_remember() {
    let bytes = program("first");
    let mut running = lived(&bytes);
    let program = *running.verified.program();
    running.set("window", 2, Value::Int(CLOCK.last_us));
    running.instance().shift_times(&program, CLOCK.last_us - 2, 1_000);
    assert_eq!(running.get("for", 0), (CLOCK.last_us + 999).to_string());
    assert_eq!(running.get("timer 2", 0), (CLOCK.last_us - 5).to_string(), "older than what is to move");
    assert_eq!(running.get("window", 2), (CLOCK.last_us + 1_000).to_string());
    running.set("for", 0, Value::Int(i64::MIN));
    running.instance().shift_times(&program, 0, -1_000);
    assert_eq!(running.get("for", 0), i64::MIN.to_string(), "what is not set stays so");
    assert_eq!(running.get("timer 2", 0), (CLOCK.last_us - 1_005).to_string());
}

type Board<const UNIT: usize> = Store<SimFlash<UNIT>, UNIT>;

fn install<const UNIT: usize>(store: &mut Board<UNIT>, number: u8, bytes: &[u8]) -> Result<(), StoreError> {
    let claim = Claim {
        rule: b"kept",
        id: &[number; 32],
        sequence: u64::from(number),
        length: bytes.len() as u32,
        staged: false,
    };
    while store.begin(0, &claim)? != Begin::Ready {}
    store.write(bytes)?;
    store.finish()?;
    store.commit().map(|_| ())
}

/// What a board finds after a restart: its program and what came back of the state.
fn boot<const UNIT: usize>(store: &Board<UNIT>) -> (u8, (String, String, String)) {
    let number = store.entry(0).unwrap().id[0];
    let mut running = Running::new(store.program(0).unwrap());
    if let Some(record) = store.kept(0) {
        running.restore(record).expect("what was kept whole can be restored");
    }
    (number, running.trips())
}

fn cuts<const UNIT: usize>(geometry: Geometry, change: fn(&mut Board<UNIT>) -> Result<(), StoreError>) -> usize {
    let first = program("first");
    let mut store = Store::open(SimFlash::new(geometry, 11));
    install(&mut store, 1, &first).unwrap();
    store.keep(0, &lived(&first).record()).unwrap();
    let mut allowed = vec![boot(&store)];
    let flash = store.flash().clone();
    change(&mut store).unwrap();
    allowed.push(boot(&store));
    // The new program with the state from before it was replaced: what the last write before the cut left.
    allowed.push((allowed[1].0, allowed[0].1.clone()));
    let mut mixes = 0;
    for steps in 0.. {
        let mut torn = flash.clone();
        torn.cut_after(steps, steps ^ 0x3C);
        let mut store = Store::open(torn);
        let done = change(&mut store);
        let mut torn = store.into_flash();
        for restart in 0..2 {
            torn.reboot(steps + restart);
            let store = Store::open(torn);
            mixes += usize::from(!allowed.contains(&boot(&store)));
            torn = store.into_flash();
        }
        if done.is_ok() {
            return mixes;
        }
    }
    unreachable!()
}

fn keep_again<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    let first = program("first");
    let mut running = Running::new(&first);
    running.live(1234);
    store.keep(0, &running.record())
}

fn replace<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    if store.entry(0).is_some_and(|entry| entry.id[0] == 1) {
        install(store, 2, &program("other"))?;
    }
    keep_again(store)
}

#[test]
fn a_power_cut_at_any_byte_leaves_the_old_or_the_new_state() {
    assert_eq!(cuts::<4>(STM32F4, keep_again), 0);
    assert_eq!(cuts::<4>(NRF52, replace), 0);
    assert_eq!(cuts::<32>(STM32H7, replace), 0);
    assert_eq!(cuts::<256>(RP2040, keep_again), 0);
}

/// Two records instead of one: what a firmware would do that kept variable by variable.
fn keep_in_two_steps<const UNIT: usize>(store: &mut Board<UNIT>) -> Result<(), StoreError> {
    let first = program("first");
    let mut running = lived(&first);
    running.set("trips", 0, Value::Int(1234));
    store.keep(0, &running.record())?;
    keep_again(store)
}

#[test]
fn control_state_that_is_kept_in_two_steps_is_a_mix_after_a_cut() {
    assert!(cuts::<4>(STM32F4, keep_in_two_steps) > 10);
}
