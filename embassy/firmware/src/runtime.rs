//! The scan: run what is due, one program after the other, on the image of the inputs.

use eyeflow_link::{Level, Records, Reset};
use eyeflow_slots::{Flash, PLACES, Start as StoreStart, Store as Slots, StoreError, Verdict};
use eyeflow_state::put;
use eyeflow_svm::{Event, Execution, Machine, Program, Status, Verified, Workspace, verify_mcu};

use crate::area::{Store, in_place};
use crate::board;
use crate::crypto::sha256;
use crate::keeping::{Keeper, Turn as KeepTurn};
#[cfg(feature = "llm")]
use crate::llm::{Llm, Pending};
use crate::once::once;
use crate::outbox::Outbox;
#[cfg(feature = "llm")]
use crate::place::EXECUTION_WORDS;
use crate::place::{INSTANCE_WORDS, Place, Start, WORK_BYTES, WORK_WORDS};
use crate::world::{Turn, World};

const PRIORITIES: u8 = 5;
/// What a record is about: an execution.
const EXECUTION: u8 = 1;
const RECORD_BYTES: usize = 33;

/// Everything that runs programs.
pub struct Runtime {
    pub places: [Place; PLACES],
    pub world: World,
    pub records: Records<Ring>,
    /// The time of programs when the board started, in microseconds: the host tells it, until then it goes on from the
    /// last one that was kept.
    pub clock_us: i64,
    pub utc_offset_us: i64,
    /// Whether the host told the time, and the latest time from before the start that a host had told.
    pub told: bool,
    pub restored_us: i64,
    pub turn: KeepTurn,
    /// Places whose program changed, one bit each, and the generation of the store that the programs were loaded from.
    pub stale: u8,
    generation: u32,
    pub scans: u32,
    pub scan_us_max: u32,
    pub boot: u32,
    pub reset: Reset,
    pub work_words: &'static mut [u64; WORK_WORDS],
    work_bytes: &'static mut [u8; WORK_BYTES],
    /// The question that is out, and the memory of the execution that waits for its answer.
    #[cfg(feature = "llm")]
    pub llm: Llm,
    #[cfg(feature = "llm")]
    llm_words: &'static mut [u64; EXECUTION_WORDS],
    #[cfg(feature = "llm")]
    llm_bytes: &'static mut [u8; WORK_BYTES],
}

/// The memory of the records.
pub type Ring = &'static mut [u8; board::RECORDS_BYTES];

impl Runtime {
    /// No program yet. To be called once.
    pub fn new(world: World, boot: u32, reset: Reset) -> Self {
        // Zeros at the start, so that they take no flash and are never copied.
        let ring = once!([u8; board::RECORDS_BYTES] = [0; board::RECORDS_BYTES]);
        let [first, second, third, fourth] = once!([[u64; INSTANCE_WORDS]; PLACES] = [[0; INSTANCE_WORDS]; PLACES]);
        Self {
            places: [Place::new(first), Place::new(second), Place::new(third), Place::new(fourth)],
            world,
            records: Records::new(ring, sha256, [0; 32]),
            clock_us: 0,
            utc_offset_us: 0,
            told: false,
            restored_us: 0,
            turn: KeepTurn::FIRST,
            stale: 0,
            generation: 0,
            scans: 0,
            scan_us_max: 0,
            boot,
            reset,
            work_words: once!([u64; WORK_WORDS] = [0; WORK_WORDS]),
            work_bytes: once!([u8; WORK_BYTES] = [0; WORK_BYTES]),
            #[cfg(feature = "llm")]
            llm: Llm::new(boot as u8),
            #[cfg(feature = "llm")]
            llm_words: once!([u64; EXECUTION_WORDS] = [0; EXECUTION_WORDS]),
            #[cfg(feature = "llm")]
            llm_bytes: once!([u8; WORK_BYTES] = [0; WORK_BYTES]),
        }
    }

    /// Start the chain of records from what identifies this board and this boot.
    pub fn begin_records(&mut self) {
        let mut start = [0; 12];
        let mut at = 0;
        put(&mut start, &mut at, &crate::device());
        put(&mut start, &mut at, &self.boot.to_le_bytes());
        self.records.begin(sha256(&start));
    }

    /// At boot: start what the store has. Only when the board went down while it ran, this is a trial of what is on
    /// probation.
    #[inline(never)]
    pub fn boot(&mut self, store: &mut Store, now_us: u64) {
        let went_down = matches!(self.reset, Reset::Watchdog | Reset::Fault);
        for place in 0..PLACES as u8 {
            // A flash that cannot note the trial still holds the program.
            let start = if went_down { store.start(place).unwrap_or(StoreStart::Run) } else { store.resume(place) };
            let run = matches!(start, StoreStart::Run | StoreStart::FellBack);
            self.stale |= u8::from(run) << place;
        }
        self.generation = store.generation();
        self.refresh(store, now_us);
    }

    #[inline(never)]
    /// Load what changed, and find again what moved. To be called after whatever may have written to flash.
    pub fn refresh(&mut self, store: &mut Store, now_us: u64) {
        let (stale, before) = (core::mem::take(&mut self.stale), store.generation());
        for place in (0..PLACES as u8).filter(|place| stale >> place & 1 == 1) {
            // What the program before leaves to the new one. Without it the new one has what was kept last: so has a second
            // program when keeping for the first one cleaned up, for cleaning up again erases what it still runs from.
            if store.generation() == before {
                let _ = self.keep(store, place, true, 0);
            }
        }
        let moved = store.generation() != self.generation;
        self.generation = store.generation();
        for place in 0..PLACES as u8 {
            if stale >> place & 1 == 1 {
                self.load(store, place, now_us);
            } else if moved {
                self.follow(store, place);
            }
        }
    }

    /// Keep what a place holds, if it is not what flash holds. Without `at_once` in steps: true says that it is to be called
    /// again in the next scan.
    pub fn keep<F: Flash, const UNIT: usize>(
        &mut self,
        store: &mut Slots<F, UNIT>,
        place: u8,
        at_once: bool,
        now_s: u32,
    ) -> Result<bool, StoreError> {
        let mut keeper = Keeper { words: self.work_words, told: self.told };
        match self.places.get_mut(usize::from(place)) {
            Some(target) => keeper.keep(target, store, place, at_once, now_s),
            None => Ok(false),
        }
    }

    /// At the end of a scan: keep what changed, of one place at a time, and when it is due.
    #[inline(never)]
    pub fn tend(&mut self, store: &mut Store, outbox: &mut Outbox, now_us: u64) {
        let Some(place) = self.turn.next() else {
            return;
        };
        let now_s = (now_us / 1_000_000) as u32;
        let due = self.places.get(usize::from(place)).is_some_and(|target| now_s >= target.due_s);
        let kept = if due { self.keep(store, place, false, now_s) } else { Ok(false) };
        self.turn.ended(kept == Ok(true));
        if kept.is_err() {
            eyeflow_link::log(Level::Error, b"state cannot be kept", &mut |frame| outbox.push(frame));
        }
        self.refresh(store, now_us);
    }

    fn load(&mut self, store: &Store, place: u8, now_us: u64) {
        self.world.make_safe(place);
        #[cfg(feature = "llm")]
        if self.llm.pending.as_ref().is_some_and(|pending| pending.place == place) {
            self.llm.forget();
        }
        let Some(target) = self.places.get_mut(usize::from(place)) else {
            return;
        };
        target.clear();
        let (Some(entry), Some(verified)) = (store.entry(place), proven(store, place)) else {
            return;
        };
        let key = entry.id.first_chunk().map_or(0, |key| u64::from_le_bytes(*key));
        match target.load(verified, key, store.kept(place), now_us) {
            Ok(clock) => {
                // Time goes on from the last one that is known, so that nothing waits for it for ever.
                self.clock_us = self.clock_us.max(clock.last_us - now_us as i64);
                if clock.told && !self.told {
                    self.restored_us = self.restored_us.max(clock.last_us);
                }
                Keeper { words: self.work_words, told: self.told }.note_kept(target);
            }
            Err(_) => target.loaded = None,
        }
    }

    fn follow(&mut self, store: &Store, place: u8) {
        let Some(target) = self.places.get_mut(usize::from(place)) else {
            return;
        };
        match proven(store, place) {
            Some(verified) => target.moved(verified),
            None => target.loaded = None,
        }
    }

    #[inline(never)]
    /// Run what is due. Programs of a higher priority run later, so that their commands stand.
    pub fn scan(&mut self, store: &mut Store, outbox: &mut Outbox, now_us: u64) {
        #[cfg(feature = "llm")]
        self.resume(store, outbox, now_us);
        for priority in (0..PRIORITIES).rev() {
            for place in 0..PLACES as u8 {
                if self.priority(place) == Some(priority) {
                    self.run_place(place, store, outbox, now_us);
                }
            }
        }
        self.world.inputs_before = self.world.inputs;
        self.scans = self.scans.wrapping_add(1);
    }

    fn priority(&self, place: u8) -> Option<u8> {
        let loaded = self.places.get(usize::from(place))?.loaded.as_ref()?;
        Some(loaded.verified.program().priority())
    }

    fn run_place(&mut self, place: u8, store: &mut Store, outbox: &mut Outbox, now_us: u64) {
        for trigger in 0..crate::place::TRIGGERS_MAX as u8 {
            #[cfg(feature = "llm")]
            if self.waits(place) {
                return;
            }
            if let Some(at_us) = self.due(place, trigger, now_us) {
                let time_us = at_us as i64 + self.clock_us;
                let verdict = self.execute(place, trigger, time_us, outbox);
                if verdict != Verdict::Open && self.judge(place, verdict, store, outbox, now_us) {
                    return;
                }
            }
        }
    }

    /// Go on with the execution that waits for an answer, if one does.
    #[cfg(feature = "llm")]
    fn resume(&mut self, store: &mut Store, outbox: &mut Outbox, now_us: u64) {
        self.llm.now_us = now_us;
        if let Some(Pending { place, trigger, .. }) = self.llm.pending {
            let verdict = self.execute(place, trigger, 0, outbox);
            if verdict != Verdict::Open {
                self.judge(place, verdict, store, outbox, now_us);
            }
        }
    }

    /// Whether a program has to wait: it asks a language model, and one question is out already.
    #[cfg(feature = "llm")]
    fn waits(&self, place: u8) -> bool {
        let loaded = self.places.get(usize::from(place)).and_then(|place| place.loaded.as_ref());
        self.llm.pending.is_some() && loaded.is_some_and(|loaded| loaded.verified.program().limits().llm_max > 0)
    }

    /// The time of an event for a trigger, since the start of the board.
    fn due(&mut self, place: u8, trigger: u8, now_us: u64) -> Option<u64> {
        let (now, before) = (self.world.inputs, self.world.inputs_before);
        let loaded = self.places.get_mut(usize::from(place))?.loaded.as_mut()?;
        match loaded.starts.get_mut(usize::from(trigger))? {
            Start::Every { period_us, due_us } if *due_us <= now_us => {
                // What was missed is not made up for: the event is that of the last period that began.
                let at_us = now_us - (now_us - *due_us) % *period_us;
                *due_us = at_us + *period_us;
                Some(at_us)
            }
            Start::Edge { input, rises, falls } => {
                let level = *now.get(usize::from(*input))?;
                let changed = *before.get(usize::from(*input))? != level;
                (changed && if level { *rises } else { *falls }).then_some(now_us)
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn execute(&mut self, place: u8, trigger: u8, time_us: i64, outbox: &mut Outbox) -> Verdict {
        let Some(target) = self.places.get_mut(usize::from(place)) else {
            return Verdict::Open;
        };
        let Some((loaded, mut instance)) = target.parts() else {
            return Verdict::Open;
        };
        loaded.last_us = loaded.last_us.max(time_us);
        let program = *loaded.verified.program();
        let (verified, key, time_us) = (loaded.verified, loaded.key, loaded.last_us);
        let event = Event { trigger: usize::from(trigger), time_us, utc_offset_us: self.utc_offset_us, inputs: &[] };
        self.world.acted = false;
        self.world.failures = 0;
        #[cfg(not(feature = "llm"))]
        let (mut workspace, suspended) = (Workspace::new(self.work_words, self.work_bytes), None::<Execution>);
        #[cfg(feature = "llm")]
        let suspended = self.llm.pending.take_if(|pending| pending.place == place).map(|pending| pending.execution);
        #[cfg(feature = "llm")]
        let mut workspace = match program.limits().llm_max {
            0 => Workspace::new(self.work_words, self.work_bytes),
            _ => Workspace::new(self.llm_words, self.llm_bytes),
        };
        let mut turn = Turn {
            world: &mut self.world,
            outbox,
            program: &program,
            place,
            cancelled: false,
            #[cfg(feature = "llm")]
            llm: &mut self.llm,
        };
        let ran = Machine::new(&verified, &mut instance, &mut workspace).and_then(|mut machine| {
            let mut execution = match suspended {
                Some(execution) => execution,
                None => machine.start(&event)?,
            };
            let status = machine.run(&mut execution, &mut turn);
            Ok((status, execution))
        });
        let Ok((status, execution)) = ran else {
            return Verdict::Failed;
        };
        #[cfg(feature = "llm")]
        if status == Status::Pending {
            self.llm.pending = Some(Pending { place, trigger, execution });
            return Verdict::Open;
        }
        let (fuel, pc) = (execution.fuel, execution.pc);
        self.account(place, status, fuel, pc);
        if status != Status::Ok || self.world.acted {
            self.record(place, trigger, status, pc, fuel, time_us, key);
        }
        let faulted = matches!(status, Status::Trapped(_));
        if faulted {
            self.world.make_safe(place);
        }
        self.places.get_mut(usize::from(place)).map_or(Verdict::Open, |target| target.probation.count(faulted))
    }

    fn account(&mut self, place: u8, status: Status, fuel: u32, pc: u16) {
        let failures = self.world.failures;
        let Some(target) = self.places.get_mut(usize::from(place)) else {
            return;
        };
        let counters = &mut target.counters;
        counters.executions = counters.executions.wrapping_add(1);
        counters.failures = counters.failures.wrapping_add(failures);
        counters.fuel_max = counters.fuel_max.max(fuel);
        match status {
            Status::Trapped(trap) => {
                counters.traps = counters.traps.wrapping_add(1);
                (counters.trap, counters.pc) = (trap as u8, pc);
            }
            Status::Skipped => counters.skips = counters.skips.wrapping_add(1),
            Status::Ok | Status::Pending => {}
        }
    }

    /// A record of an execution that changed something or did not end well. docs/serial-link.md, Records.
    #[allow(clippy::too_many_arguments)]
    fn record(&mut self, place: u8, trigger: u8, status: Status, pc: u16, fuel: u32, time_us: i64, key: u64) {
        let told = u8::from(self.told);
        let (outcome, trap) = match status {
            Status::Ok | Status::Pending => (0, 0),
            Status::Skipped => (1, 0),
            Status::Trapped(trap) => (2, trap as u8),
        };
        let levels = self.world.levels.iter().rev().fold(0_u32, |bits, &level| bits << 1 | u32::from(level));
        let mut record = [0; RECORD_BYTES];
        let mut at = 0;
        let pc = pc.to_le_bytes();
        put(&mut record, &mut at, &[EXECUTION, place, outcome, trap, pc[0], pc[1], trigger, 0]);
        put(&mut record, &mut at, &fuel.to_le_bytes());
        put(&mut record, &mut at, &time_us.to_le_bytes());
        put(&mut record, &mut at, &key.to_le_bytes());
        put(&mut record, &mut at, &levels.to_le_bytes());
        put(&mut record, &mut at, &[told]);
        self.records.push(&record);
    }

    /// A program has proved itself, or failed too often. Returns whether the place changed.
    fn judge(&mut self, place: u8, verdict: Verdict, store: &mut Store, outbox: &mut Outbox, now_us: u64) -> bool {
        if verdict == Verdict::Good {
            // A flash that refuses leaves the program on probation: it is tried again at the next start.
            let _ = store.good(place);
            self.refresh(store, now_us);
            return false;
        }
        let fell_back = store.fault(place).unwrap_or(false);
        let text: &[u8] = if fell_back { b"back to the last good program" } else { b"program stopped after faults" };
        eyeflow_link::log(Level::Error, text, &mut |frame| outbox.push(frame));
        self.world.make_safe(place);
        if fell_back {
            self.stale |= 1 << place;
        } else if let Some(target) = self.places.get_mut(usize::from(place)) {
            target.loaded = None;
            target.counters.running = 0;
        }
        self.refresh(store, now_us);
        true
    }
}

#[inline(never)]
/// The program of a place, decoded and proven again where it lies now.
fn proven(store: &Store, place: u8) -> Option<Verified<'static>> {
    let program = Program::decode(in_place(store.program(place)?)).ok()?;
    verify_mcu(&program).ok()
}
