//! The conformance corpus of the Python SVM, unchanged: tests/conformance/README.md.
#![allow(missing_docs)]

mod corpus;

use corpus::{Outcome, Scripted, Setup, read_value};
use eyeflow_svm::{Program, verify, verify_mcu};
use serde_json::Value as Json;

fn run_group(group: &str) {
    let cases = corpus::load(group);
    let wrong: Vec<String> = cases.iter().flat_map(run_case).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!cases.is_empty());
}

fn run_case(case: &Json) -> Vec<String> {
    let name = case["name"].as_str().unwrap();
    let bytes = corpus::unhex(case["program"].as_str().unwrap());
    let program = match Program::decode(&bytes) {
        Ok(program) => program,
        Err(refusal) => return vec![format!("{name}: refused: {refusal:?}")],
    };
    let verified = match verify(&program) {
        Ok(verified) => verified,
        Err(refusal) => return vec![format!("{name}: not proven: {refusal:?}")],
    };
    let mut setup = Setup::new(&verified);
    setup.set(&verified, &corpus::values(&case["params"]), &corpus::values(&case["start"]));
    let mut wrong = Vec::new();
    for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let answers = step["answers"].as_array().unwrap().iter().map(|answer| answer.as_str().map(read_value));
        let mut host = Scripted::new(answers.collect());
        let found = setup.step(&verified, step, &mut host).to_json(&setup.state(&verified));
        if found != step["expect"] {
            wrong.push(format!("{name}, step {number}: expected {}, found {found}", step["expect"]));
        }
    }
    wrong
}

#[test]
fn numbers() {
    run_group("numbers");
}

#[test]
fn time() {
    run_group("time");
}

#[test]
fn control() {
    run_group("control");
}

#[test]
fn world() {
    run_group("world");
}

#[test]
fn refused_containers_are_refused_at_their_stage() {
    for entry in corpus::load("refused") {
        let bytes = corpus::unhex(entry["bytes"].as_str().unwrap());
        let stage = match Program::decode(&bytes) {
            Err(_) => "decode",
            Ok(program) => match verify(&program) {
                Err(_) => "verify",
                Ok(_) => "accepted",
            },
        };
        assert_eq!(stage, entry["stage"].as_str().unwrap(), "{}", entry["name"]);
    }
}

#[test]
fn a_wrong_expectation_is_found() {
    let mut case = corpus::load("numbers").remove(0);
    case["steps"][0]["expect"]["fuel"] = Json::from(1000);
    assert_eq!(run_case(&case).len(), 1);
}

#[test]
fn the_verifier_of_the_mcu_takes_what_fits_its_bounds_and_proves_the_same() {
    let mut taken = 0;
    for case in ["numbers", "time", "control", "world"].iter().flat_map(|group| corpus::load(group)) {
        let bytes = corpus::unhex(case["program"].as_str().unwrap());
        let program = Program::decode(&bytes).unwrap();
        let fits = program.limits().stack_max <= 32 && program.limits().block_depth_max <= 32;
        let small = verify_mcu(&program);
        assert_eq!(small.is_ok(), fits, "{}", case["name"]);
        if let Ok(small) = small {
            assert_eq!(small.needs(), verify(&program).unwrap().needs());
            taken += 1;
        }
    }
    assert!(taken > 500);
    let _ = Outcome::Ok;
}
