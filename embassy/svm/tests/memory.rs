//! What the corpus cannot show: suspended executions, texts that change places, parameters, signatures, square roots.
#![allow(missing_docs)]

mod corpus;

use eyeflow_svm::{
    Call, Crypto, Event, Host, Instance, Machine, Misfit, Program, Reply, Signed, Status, Value, Why, Workspace,
    check_signatures, message, verify,
};

fn case(group: &str, wanted: impl Fn(&Program<'_>) -> bool) -> Vec<u8> {
    corpus::load(group)
        .iter()
        .map(|case| corpus::unhex(case["program"].as_str().unwrap()))
        .find(|bytes| wanted(&Program::decode(bytes).unwrap()))
        .expect("a program like that in the corpus")
}

/// Says pending so many times before it answers.
struct Slow {
    left: usize,
    asked: usize,
    acted: usize,
}

impl Host for Slow {
    fn read(&mut self, call: Call<'_>, _: &mut [u8]) -> Reply {
        assert_eq!(call.args().count(), usize::from(call.site().unwrap().args));
        self.asked += 1;
        if self.left > 0 {
            self.left -= 1;
            return Reply::Pending;
        }
        Reply::Failed
    }

    fn act(&mut self, _: Call<'_>) {
        self.acted += 1;
    }
}

#[test]
fn a_suspended_execution_ends_as_one_that_was_answered_at_once() {
    let (mut suspended, mut compared) = (0, 0);
    for case in corpus::load("world") {
        let bytes = corpus::unhex(case["program"].as_str().unwrap());
        let program = Program::decode(&bytes).unwrap();
        let found: Vec<_> = [0, 3].map(|left| run_slowly(&program, left)).into();
        let (at_once, later) = (&found[0], &found[1]);
        assert_eq!(at_once.0, later.0, "{}", case["name"]);
        assert_eq!(at_once.1, later.1);
        suspended += later.2;
        compared += 1;
    }
    assert!(compared > 10 && suspended > 10);
}

fn run_slowly(program: &Program<'_>, left: usize) -> ((Status, u32, usize), Vec<u64>, usize) {
    let verified = verify(program).unwrap();
    let needs = verified.needs();
    let (mut words, mut bytes) = (vec![0; needs.instance_words], vec![0; needs.instance_bytes]);
    let (mut work, mut scratch) = (vec![0; needs.work_words], vec![0; needs.work_bytes]);
    let mut instance = Instance::new(&verified, &mut words, &mut bytes).unwrap();
    let types = corpus::input_types(program, 0);
    let inputs: Vec<Value<'_>> = types.iter().map(|value_type| zero(*value_type)).collect();
    let event = Event { trigger: 0, time_us: 5, utc_offset_us: 0, inputs: &inputs };
    let mut workspace = Workspace::new(&mut work, &mut scratch);
    let mut machine = Machine::new(&verified, &mut instance, &mut workspace).unwrap();
    let mut execution = machine.start(&event).unwrap();
    let mut host = Slow { left, asked: 0, acted: 0 };
    let mut pending = 0;
    let status = loop {
        match machine.run(&mut execution, &mut host) {
            Status::Pending => pending += 1,
            status => break status,
        }
    };
    ((status, execution.fuel, host.acted), words, pending)
}

fn zero(value_type: eyeflow_svm::ValueType) -> Value<'static> {
    match value_type {
        eyeflow_svm::ValueType::Bool => Value::Bool(false),
        eyeflow_svm::ValueType::Int => Value::Int(0),
        eyeflow_svm::ValueType::Float => Value::Float(0.0),
        eyeflow_svm::ValueType::Text => Value::Text(b""),
    }
}

#[test]
fn too_little_memory_is_refused() {
    let bytes = case("numbers", |program| program.regions.state > 0);
    let program = Program::decode(&bytes).unwrap();
    let verified = verify(&program).unwrap();
    let needs = verified.needs();
    let mut words = vec![0; needs.instance_words];
    assert_eq!(Instance::new(&verified, &mut words[1..], &mut []).err(), Some(Misfit::Memory));
    let mut instance = Instance::new(&verified, &mut words, &mut []).unwrap();
    let mut work = vec![0; needs.work_words - 1];
    let mut workspace = Workspace::new(&mut work, &mut []);
    assert_eq!(Machine::new(&verified, &mut instance, &mut workspace).err(), Some(Misfit::Memory));
}

#[test]
fn inputs_of_another_shape_are_refused() {
    let bytes = case("numbers", |program| program.regions.inputs == 2);
    let program = Program::decode(&bytes).unwrap();
    let verified = verify(&program).unwrap();
    let needs = verified.needs();
    let (mut words, mut text) = (vec![0; needs.instance_words], vec![0; needs.instance_bytes]);
    let mut instance = Instance::new(&verified, &mut words, &mut text).unwrap();
    let (mut work, mut scratch) = (vec![0; needs.work_words], vec![0; needs.work_bytes]);
    let mut workspace = Workspace::new(&mut work, &mut scratch);
    let mut machine = Machine::new(&verified, &mut instance, &mut workspace).unwrap();
    for inputs in [vec![], vec![Value::Int(1)], vec![Value::Text(&[0xFF]), Value::Text(&[0xC0, 0x80])]] {
        let event = Event { trigger: 0, time_us: 0, utc_offset_us: 0, inputs: &inputs };
        assert_eq!(machine.start(&event).err(), Some(Misfit::Value));
    }
    assert_eq!(program.handler(program.triggers()), None);
}

#[test]
fn parameters_keep_to_their_slots() {
    let bytes = case("control", |program| program.regions.params == 1);
    let program = Program::decode(&bytes).unwrap();
    let verified = verify(&program).unwrap();
    let needs = verified.needs();
    let (mut words, mut text) = (vec![0; needs.instance_words], vec![0; needs.instance_bytes]);
    let mut instance = Instance::new(&verified, &mut words, &mut text).unwrap();
    let before = instance.get(&program, 0).unwrap().value_type();
    assert_eq!(instance.set_param(&program, 1, Value::Int(1)), Err(Misfit::Index));
    let other = if before == eyeflow_svm::ValueType::Int { Value::Bool(true) } else { Value::Int(1) };
    assert_eq!(instance.set_param(&program, 0, other), Err(Misfit::Value));
    assert_eq!(instance.get(&program, 9_999), None);
}

/// A key is its own signature: enough to see which checks are made.
struct Toy;

impl Crypto for Toy {
    fn sha256(&mut self, data: &[u8]) -> [u8; 32] {
        [data.len() as u8; 32]
    }

    fn verify(&mut self, key: &[u8; 32], text: &[u8], signature: &[u8; 64]) -> bool {
        assert!(text.starts_with(b"eyeflow program v1\0") && text.len() == 51);
        signature[..32] == key[..]
    }
}

fn signed_by(bytes: &[u8], keys: &[(u8, u8)]) -> Vec<u8> {
    let mut data = bytes[..bytes.len() - 4].to_vec();
    data.extend([keys.len() as u8, 0, 0, 0]);
    for (key, signature) in keys {
        data.extend([*key; 32]);
        data.extend([*signature; 64]);
    }
    data
}

#[test]
fn every_signature_is_checked_and_one_must_be_trusted() {
    let bytes = case("numbers", |_| true);
    let check = |keys: &[(u8, u8)], trusted: u8| {
        let data = signed_by(&bytes, keys);
        let signed = Signed::parse(&data).unwrap();
        check_signatures(&signed, &[[trusted; 32]], &mut Toy).map_err(|refusal| refusal.why)
    };
    assert_eq!(check(&[], 1), Err(Why::Unsigned));
    assert_eq!(check(&[(2, 2)], 1), Err(Why::ForeignSignature));
    assert_eq!(check(&[(1, 1), (2, 3)], 1), Err(Why::BadSignature));
    assert!(check(&[(1, 1), (2, 2)], 2).is_ok());
    assert_eq!(message(&[7; 32])[19..], [7; 32]);
}
