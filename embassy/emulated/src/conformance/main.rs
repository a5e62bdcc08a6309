//! Runs one case of the conformance corpus on a bare core; tests/emulated/cases.py calls it in an emulator.
//!
//! The case comes, and what comes out of it goes, as bytes in memory: `wire.rs`. What the host runner of
//! embassy/svm/examples/runner.rs does with JSON, this does without a heap.
#![no_std]
#![no_main]

mod host;
mod wire;

use core::panic::PanicInfo;
use eyeflow_svm::{Event, Instance, Machine, Program, Refusal, Status, Value, Verified, Workspace, verify};

use host::Scripted;
use wire::{Reader, Writer};

const INPUTS_MAX: usize = 512;
/// What memory holds before a program gets it: nothing may depend on it.
const DIRT: u64 = u64::MAX;
const END_OF_CALLS: u8 = 0;

/// Where the case lies, where its result goes, and memory for the program.
#[repr(C)]
pub struct Areas {
    case: *const u8,
    case_bytes: usize,
    result: *mut u8,
    result_bytes: usize,
    words: *mut u64,
    words_count: usize,
    bytes: *mut u8,
    bytes_count: usize,
}

/// Run the case; how many bytes of result there are.
///
/// # Safety
/// Every area is memory of that size, and none overlaps another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run_case(areas: &Areas) -> usize {
    // SAFETY: as the caller promises.
    let (case, result, words, bytes) = unsafe {
        (
            core::slice::from_raw_parts(areas.case, areas.case_bytes),
            core::slice::from_raw_parts_mut(areas.result, areas.result_bytes),
            core::slice::from_raw_parts_mut(areas.words, areas.words_count),
            core::slice::from_raw_parts_mut(areas.bytes, areas.bytes_count),
        )
    };
    let mut writer = Writer::new(result);
    run(Reader::new(case), &mut writer, words, bytes);
    writer.length()
}

fn run(mut case: Reader<'_>, out: &mut Writer<'_>, words: &mut [u64], bytes: &mut [u8]) {
    let size = case.u32() as usize;
    let program = match Program::decode(case.take(size)) {
        Ok(program) => program,
        Err(refusal) => return refused(out, b'd', refusal),
    };
    match verify(&program) {
        Ok(verified) => accepted(&mut case, out, &verified, words, bytes),
        Err(refusal) => refused(out, b'v', refusal),
    }
}

fn refused(out: &mut Writer<'_>, stage: u8, refusal: Refusal) {
    out.put(&[stage, refusal.why as u8]);
}

/// The memory of one program, exactly as large as it says that it needs.
struct Setup<'m> {
    words: &'m mut [u64],
    bytes: &'m mut [u8],
    work_words: &'m mut [u64],
    work_bytes: &'m mut [u8],
}

fn accepted(case: &mut Reader<'_>, out: &mut Writer<'_>, verified: &Verified<'_>, words: &mut [u64], bytes: &mut [u8]) {
    let needs = verified.needs();
    let counts = [needs.instance_words, needs.instance_bytes, needs.work_words, needs.work_bytes];
    let (words, work_words) = words[..counts[0] + counts[2]].split_at_mut(counts[0]);
    let (bytes, work_bytes) = bytes[..counts[1] + counts[3]].split_at_mut(counts[1]);
    let mut setup = Setup { words, bytes, work_words, work_bytes };
    setup.words.fill(DIRT);
    setup.work_words.fill(DIRT);
    setup.bytes.fill(DIRT as u8);
    setup.work_bytes.fill(DIRT as u8);
    Instance::new(verified, setup.words, setup.bytes).unwrap_or_else(|_| panic!());
    out.put(b"a");
    counts.iter().for_each(|count| out.u32(*count as u32));
    setup.write_state(verified, out);
    let steps = case.u16();
    if steps > 0 {
        setup.set(verified, case);
    }
    out.u16(steps);
    for _ in 0..steps {
        setup.step(verified, case, out);
    }
}

impl Setup<'_> {
    fn instance(&mut self, verified: &Verified<'_>) -> Instance<'_> {
        Instance::keep(verified, self.words, self.bytes).unwrap_or_else(|_| panic!())
    }

    /// Parameters, then state, as the case wants them.
    fn set(&mut self, verified: &Verified<'_>, case: &mut Reader<'_>) {
        let program = verified.program();
        let mut instance = self.instance(verified);
        for base in [0, program.regions.state_base()] {
            for slot in base..base + usize::from(case.u16()) {
                let value = case.value().unwrap_or_else(|| panic!());
                instance.set(program, slot, value).unwrap_or_else(|_| panic!());
            }
        }
    }

    fn write_state(&mut self, verified: &Verified<'_>, out: &mut Writer<'_>) {
        let program = verified.program();
        let base = program.regions.state_base();
        let instance = self.instance(verified);
        out.u16(program.regions.state);
        for slot in base..base + usize::from(program.regions.state) {
            out.value(instance.get(program, slot).unwrap_or_else(|| panic!()));
        }
    }

    fn step(&mut self, verified: &Verified<'_>, case: &mut Reader<'_>, out: &mut Writer<'_>) {
        let (trigger, time_us, utc_offset_us) = (usize::from(case.u16()), case.i64(), case.i64());
        let mut inputs = [Value::Bool(false); INPUTS_MAX];
        let inputs = &mut inputs[..usize::from(case.u16())];
        for input in inputs.iter_mut() {
            *input = case.value().unwrap_or_else(|| panic!());
        }
        let event = Event { trigger, time_us, utc_offset_us, inputs };
        let (status, fuel, pc) = self.execute(verified, &event, &mut Scripted { answers: case.u16(), case, out });
        out.put(&[END_OF_CALLS]);
        let (outcome, trap, pc) = match status {
            Status::Ok => (b'o', 0, 0),
            Status::Skipped => (b's', 0, 0),
            Status::Trapped(trap) => (b't', trap as u8, pc),
            Status::Pending => (b'p', 0, 0),
        };
        out.put(&[outcome, trap]);
        out.u16(pc);
        out.u32(fuel);
        self.write_state(verified, out);
    }

    fn execute(
        &mut self,
        verified: &Verified<'_>,
        event: &Event<'_>,
        host: &mut Scripted<'_, '_, '_>,
    ) -> (Status, u32, u16) {
        let mut instance = Instance::keep(verified, self.words, self.bytes).unwrap_or_else(|_| panic!());
        let mut workspace = Workspace::new(self.work_words, self.work_bytes);
        let mut machine = Machine::new(verified, &mut instance, &mut workspace).unwrap_or_else(|_| panic!());
        let mut execution = machine.start(event).unwrap_or_else(|_| panic!());
        let status = machine.run(&mut execution, host);
        host.skip_unread();
        (status, execution.fuel, execution.pc)
    }
}

/// An undefined instruction: the emulator reports it.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it ends the emulation.
    unsafe { core::arch::asm!("udf #0", options(noreturn)) }
}
