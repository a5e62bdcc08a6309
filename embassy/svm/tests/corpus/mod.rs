//! Cases as JSON: values, hosts that answer by script, and the memory of one program.
#![allow(dead_code, missing_docs)]

use eyeflow_svm::{
    Call, Event, Host, Instance, Machine, Program, Reply, Status, Value, ValueType, Verified, Workspace,
};
use serde_json::{Value as Json, json};

/// A value that owns its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Skipped,
    Trapped,
}

pub fn load(group: &str) -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/cases");
    let text = std::fs::read_to_string(format!("{path}/{group}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn values(array: &Json) -> Vec<Owned> {
    array.as_array().unwrap().iter().map(|value| read_value(value.as_str().unwrap())).collect()
}

pub fn read_value(text: &str) -> Owned {
    let (letter, rest) = text.split_at(1);
    match letter {
        "b" => Owned::Bool(rest == "1"),
        "i" => Owned::Int(rest.parse().unwrap()),
        "f" => Owned::Float(f64::from_bits(u64::from_str_radix(rest, 16).unwrap())),
        "t" => Owned::Text(unhex(rest)),
        _ => panic!("no value: {text}"),
    }
}

pub fn write_value(value: Value<'_>) -> String {
    match value {
        Value::Bool(value) => format!("b{}", u8::from(value)),
        Value::Int(value) => format!("i{value}"),
        Value::Float(value) => format!("f{:016x}", value.to_bits()),
        Value::Text(value) => format!("t{}", hex(value)),
    }
}

impl Owned {
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(value) => Value::Text(value),
        }
    }
}

/// Answers reads with the given values in order; none, or no value left, fails the read. Keeps actions and questions.
pub struct Scripted {
    answers: std::collections::VecDeque<Option<Owned>>,
    pub actions: Vec<Json>,
    pub asked: Vec<Json>,
}

impl Scripted {
    pub fn new(answers: Vec<Option<Owned>>) -> Self {
        Self { answers: answers.into(), actions: Vec::new(), asked: Vec::new() }
    }
}

fn written(call: &Call<'_>) -> Json {
    json!([call.index, call.args().map(write_value).collect::<Vec<_>>()])
}

impl Host for Scripted {
    fn read(&mut self, call: Call<'_>, text: &mut [u8]) -> Reply {
        self.asked.push(written(&call));
        match self.answers.pop_front().flatten() {
            None => Reply::Failed,
            Some(Owned::Bool(value)) => Reply::Bool(value),
            Some(Owned::Int(value)) => Reply::Int(value),
            Some(Owned::Float(value)) => Reply::Float(value),
            Some(Owned::Text(value)) => {
                text.iter_mut().zip(&value).for_each(|(place, byte)| *place = *byte);
                Reply::Text(value.len())
            }
        }
    }

    fn act(&mut self, call: Call<'_>) {
        self.actions.push(written(&call));
    }
}

/// The memory of one program, exactly as large as it says that it needs.
pub struct Setup {
    words: Vec<u64>,
    bytes: Vec<u8>,
    work_words: Vec<u64>,
    work_bytes: Vec<u8>,
}

/// What a step gives.
pub struct Found {
    pub status: Status,
    pub fuel: u32,
    pub pc: u16,
    pub actions: Vec<Json>,
}

impl Found {
    pub fn to_json(&self, state: &[String]) -> Json {
        let (outcome, trap, pc) = match self.status {
            Status::Ok => ("ok", 0, 0),
            Status::Skipped => ("skipped", 0, 0),
            Status::Trapped(trap) => ("trapped", trap as u8, self.pc),
            Status::Pending => ("pending", 0, 0),
        };
        json!({"outcome": outcome, "trap": trap, "pc": pc, "fuel": self.fuel, "actions": self.actions, "state": state})
    }
}

impl Setup {
    pub fn new(verified: &Verified<'_>) -> Self {
        let needs = verified.needs();
        let mut setup = Self {
            words: vec![u64::MAX; needs.instance_words],
            bytes: vec![0xFF; needs.instance_bytes],
            work_words: vec![u64::MAX; needs.work_words],
            work_bytes: vec![0xFF; needs.work_bytes],
        };
        Instance::new(verified, &mut setup.words, &mut setup.bytes).unwrap();
        setup
    }

    pub fn set(&mut self, verified: &Verified<'_>, params: &[Owned], state: &[Owned]) {
        let program = verified.program();
        let base = state_base(program);
        let mut instance = Instance::keep(verified, &mut self.words, &mut self.bytes).unwrap();
        for (slot, value) in params.iter().enumerate().chain((base..).zip(state)) {
            instance.set(program, slot, value.borrow()).unwrap();
        }
    }

    pub fn state(&mut self, verified: &Verified<'_>) -> Vec<String> {
        let program = verified.program();
        let base = state_base(program);
        let instance = Instance::keep(verified, &mut self.words, &mut self.bytes).unwrap();
        let slots = base..base + usize::from(program.regions.state);
        slots.map(|slot| write_value(instance.get(program, slot).unwrap())).collect()
    }

    pub fn step(&mut self, verified: &Verified<'_>, step: &Json, host: &mut Scripted) -> Found {
        let inputs = values(&step["inputs"]);
        let inputs: Vec<Value<'_>> = inputs.iter().map(Owned::borrow).collect();
        let event = Event {
            trigger: step["trigger"].as_u64().unwrap() as usize,
            time_us: step["time_us"].as_i64().unwrap(),
            utc_offset_us: step["utc_offset_us"].as_i64().unwrap(),
            inputs: &inputs,
        };
        self.run(verified, &event, host)
    }

    pub fn run(&mut self, verified: &Verified<'_>, event: &Event<'_>, host: &mut Scripted) -> Found {
        let mut instance = Instance::keep(verified, &mut self.words, &mut self.bytes).unwrap();
        let mut workspace = Workspace::new(&mut self.work_words, &mut self.work_bytes);
        let mut machine = Machine::new(verified, &mut instance, &mut workspace).unwrap();
        let mut execution = machine.start(event).unwrap();
        let status = machine.run(&mut execution, host);
        Found { status, fuel: execution.fuel, pc: execution.pc, actions: std::mem::take(&mut host.actions) }
    }
}

fn state_base(program: &Program<'_>) -> usize {
    program.regions.state_base()
}

/// The type of each input of a trigger.
pub fn input_types(program: &Program<'_>, trigger: usize) -> Vec<ValueType> {
    let handler = program.handler(trigger).unwrap();
    (handler.input_base..handler.input_end).map(|slot| program.slot(usize::from(slot)).unwrap().value_type).collect()
}
