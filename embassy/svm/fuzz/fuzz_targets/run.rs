//! Programs with any code in a valid container: proven ones run within their fuel. `cargo +nightly fuzz run run`.
#![no_main]

use eyeflow_svm::{Call, Event, Host, Instance, Machine, Program, Reply, Value, ValueType, Workspace, verify};
use libfuzzer_sys::fuzz_target;

/// Answers from the bytes of the input.
struct Answers<'a>(&'a [u8]);

impl Answers<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| (word << 8) | u64::from(self.byte()))
    }
}

impl Host for Answers<'_> {
    fn read(&mut self, call: Call<'_>, text: &mut [u8]) -> Reply {
        assert!(call.args().count() == usize::from(call.site().unwrap().args));
        match self.byte() % 6 {
            0 => Reply::Bool(true),
            1 => Reply::Int(self.word() as i64),
            2 => Reply::Float(f64::from_bits(self.word())),
            3 => {
                text.fill(b'x');
                Reply::Text(usize::from(self.byte()))
            }
            4 => Reply::Pending,
            _ => Reply::Failed,
        }
    }

    fn act(&mut self, call: Call<'_>) {
        assert!(call.args().count() == usize::from(call.site().unwrap().args));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((tail, bytes)) = data.split_at_checked(32) else { return };
    let Ok(program) = Program::decode(bytes) else { return };
    let Ok(verified) = verify(&program) else { return };
    let needs = verified.needs();
    if needs.work_words > 1 << 16 || needs.work_bytes > 1 << 20 || program.limits().fuel_max > 1 << 20 {
        return;
    }
    let (mut words, mut text) = (vec![0; needs.instance_words], vec![0; needs.instance_bytes]);
    let (mut work, mut scratch) = (vec![0; needs.work_words], vec![0; needs.work_bytes]);
    let mut instance = Instance::new(&verified, &mut words, &mut text).unwrap();
    let mut workspace = Workspace::new(&mut work, &mut scratch);
    let mut host = Answers(tail);
    for index in 0..program.triggers() {
        let handler = program.handler(index).unwrap();
        let inputs: Vec<Value<'_>> = (handler.input_base..handler.input_end)
            .map(|slot| match program.slot(usize::from(slot)).unwrap().value_type {
                ValueType::Bool => Value::Bool(host.byte() & 1 == 1),
                ValueType::Int => Value::Int(i64::from(host.byte() as i8)),
                ValueType::Float => Value::Float(f64::from_bits(host.word())),
                ValueType::Text => Value::Text(b"t"),
            })
            .collect();
        let event = Event { trigger: index, time_us: 1_000, utc_offset_us: 0, inputs: &inputs };
        let mut machine = Machine::new(&verified, &mut instance, &mut workspace).unwrap();
        let mut execution = machine.start(&event).unwrap();
        machine.run(&mut execution, &mut host);
        assert!(execution.fuel <= program.limits().fuel_max);
    }
});
