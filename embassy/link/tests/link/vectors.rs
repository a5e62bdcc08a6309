//! The vectors in tests/vectors/serial_link, which the Python side is tested with too.

use crate::fixture::{Rig, frames};
use eyeflow_link::{Broken, DICTIONARY_VERSION, History, Lz, Receiver};
use serde_json::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/serial_link/");

fn load(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{VECTORS}{name}")).expect("the vectors are there");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex digits");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex digits")).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

#[test]
fn each_frame_has_its_bytes() {
    for vector in list(&load("frames.json")["frames"]) {
        let (kind, sequence) = (number(&vector["kind"]) as u8, number(&vector["sequence"]) as u8);
        let payload = hex(&vector["payload"]);
        let mut wire = vec![];
        eyeflow_link::send(kind, sequence, &payload, &mut |bytes| wire.extend_from_slice(bytes));
        assert_eq!(wire, hex(&vector["wire"]), "{}", vector["name"]);
        assert_eq!(frames(&wire), [(kind, sequence, payload)], "{}", vector["name"]);
    }
}

#[test]
fn each_stream_has_its_frames() {
    for vector in list(&load("frames.json")["streams"]) {
        let mut receiver = Receiver::new();
        let mut found = vec![];
        for byte in hex(&vector["wire"]) {
            if let Some(frame) = receiver.push(byte) {
                found.push((u64::from(frame.kind), u64::from(frame.sequence), frame.payload.to_vec()));
            }
        }
        let expected: Vec<_> = list(&vector["frames"])
            .iter()
            .map(|frame| (number(&frame["kind"]), number(&frame["sequence"]), hex(&frame["payload"])))
            .collect();
        assert_eq!(found, expected, "{}", vector["name"]);
        let counts = (expected.len() as u32, number(&vector["bad"]) as u32);
        assert_eq!(receiver.counts(), counts, "{}", vector["name"]);
    }
}

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

fn decompress(vector: &Value, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Broken> {
    let mut lz = Lz::new(number(&vector["size"]) as u32, number(&vector["dictionary"]) > 0);
    let mut memory = Memory(vec![]);
    let pieces = bytes.chunks(piece).count();
    for (index, piece) in bytes.chunks(piece).enumerate() {
        lz.feed(piece, index + 1 == pieces, &mut memory)?;
    }
    Ok(memory.0)
}

#[test]
fn each_compressed_program_comes_out_whatever_the_pieces() {
    for vector in list(&load("codec.json")["good"]) {
        assert!(number(&vector["dictionary"]) <= u64::from(DICTIONARY_VERSION));
        for piece in [1, 7, 112, 100_000] {
            let plain = decompress(vector, &hex(&vector["compressed"]), piece);
            assert_eq!(plain, Ok(hex(&vector["plain"])), "{} by {piece}", vector["name"]);
        }
    }
}

#[test]
fn each_broken_one_is_refused() {
    for vector in list(&load("codec.json")["broken"]) {
        assert_eq!(decompress(vector, &hex(&vector["compressed"]), 5), Err(Broken), "{}", vector["name"]);
    }
}

#[test]
fn a_damaged_program_is_refused_or_differs_but_never_panics() {
    for vector in list(&load("codec.json")["good"]) {
        let good = hex(&vector["compressed"]);
        let plain = hex(&vector["plain"]);
        for bit in (0..good.len() * 8).step_by(1 + good.len() / 200) {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = decompress(vector, &bytes, 40) {
                assert_eq!(found.len(), plain.len());
            }
        }
    }
}

/// A whole conversation with the board of `fixture`. EYEFLOW_UPDATE_GOLDEN=1 writes the answers anew.
#[test]
fn each_request_has_its_answer() {
    let mut session = load("session.json");
    let update = std::env::var_os("EYEFLOW_UPDATE_GOLDEN").is_some();
    let mut rig = Rig::new();
    (0..3_u8).for_each(|index| rig.board.records.push(&[1, index, 2, 3]));
    for step in session["steps"].as_array_mut().expect("a list") {
        let answer = rig.ask(number(&step["kind"]) as u8, &hex(&step["payload"]));
        if update {
            let text: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
            step["answer"] = Value::from(text);
        }
        assert_eq!(answer, hex(&step["answer"]), "{}", step["name"]);
    }
    assert_eq!(rig.board.time, (1_790_000_000_000_000, 7200));
    assert_eq!(rig.board.llm, [(3, 0, b"yes".to_vec())]);
    assert_eq!(rig.board.changed, [0, 1, 0, 0, 0]);
    if update {
        let text = serde_json::to_string_pretty(&session).expect("JSON");
        std::fs::write(format!("{VECTORS}session.json"), text + "\n").expect("the vectors are written");
    }
}
