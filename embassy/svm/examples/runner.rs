//! Runs cases from standard input, one JSON object a line, and writes what comes out, one a line.
//!
//! A case is one of the conformance corpus (tests/conformance/README.md) without `expect`; its result is
//! `{"stage": "decode" | "verify" | "accepted", "needs": [...], "steps": [...]}`, a step with `asked`, the calls that were
//! answered; `needs` are words and bytes of the instance, words and bytes of the workspace.
#![allow(missing_docs)]

#[path = "../tests/corpus/mod.rs"]
mod corpus;

use corpus::{Scripted, Setup, read_value};
use eyeflow_svm::{Program, verify};
use serde_json::{Value as Json, json};
use std::io::{BufRead, Write};

fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let case: Json = serde_json::from_str(&line.expect("a line")).expect("a case");
        writeln!(out, "{}", result(&case)).expect("standard output");
    }
}

fn result(case: &Json) -> Json {
    let bytes = corpus::unhex(case["program"].as_str().expect("a program"));
    let program = match Program::decode(&bytes) {
        Ok(program) => program,
        Err(refusal) => return json!({"stage": "decode", "why": refusal.why as u8}),
    };
    let verified = match verify(&program) {
        Ok(verified) => verified,
        Err(refusal) => return json!({"stage": "verify", "why": refusal.why as u8}),
    };
    let empty = Vec::new();
    let steps = case["steps"].as_array().unwrap_or(&empty);
    let mut setup = Setup::new(&verified);
    let initial = setup.state(&verified);
    if !steps.is_empty() {
        setup.set(&verified, &corpus::values(&case["params"]), &corpus::values(&case["start"]));
    }
    let found: Vec<Json> = steps
        .iter()
        .map(|step| {
            let answers = step["answers"].as_array().expect("answers").iter();
            let mut host = Scripted::new(answers.map(|answer| answer.as_str().map(read_value)).collect());
            let found = setup.step(&verified, step, &mut host);
            let mut entry = found.to_json(&setup.state(&verified));
            entry["asked"] = Json::from(host.asked);
            entry
        })
        .collect();
    let needs = verified.needs();
    let needs = [needs.instance_words, needs.instance_bytes, needs.work_words, needs.work_bytes];
    json!({"stage": "accepted", "needs": needs, "initial": initial, "steps": found})
}
