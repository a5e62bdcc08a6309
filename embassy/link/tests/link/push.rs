//! Pushing programs to a board: every refusal, repeated requests, and going on after an interruption.

use crate::fixture::{Rig, announce, program, sha256};
use eyeflow_link::{Code, Request};

fn begin(rig: &mut Rig, payload: &[u8]) -> (u8, u64) {
    for _ in 0..1000 {
        let answer = rig.ask(Request::PushBegin as u8, payload);
        let number = u64::from_le_bytes(answer[1..].try_into().unwrap());
        if answer[0] != Code::Wait as u8 {
            return (answer[0], number);
        }
    }
    panic!("the board never gets ready");
}

fn data(rig: &mut Rig, offset: u32, bytes: &[u8]) -> (u8, u32) {
    let mut payload = offset.to_le_bytes().to_vec();
    payload.extend(bytes);
    let answer = rig.ask(Request::PushData as u8, &payload);
    (answer[0], u32::from_le_bytes(answer[1..].try_into().unwrap()))
}

fn end(rig: &mut Rig, program: &[u8]) -> (u8, u8, u32, u8) {
    let answer = rig.ask(Request::PushEnd as u8, &sha256(program));
    (answer[0], answer[1], u32::from_le_bytes(answer[2..6].try_into().unwrap()), answer[6])
}

fn push(rig: &mut Rig, program: &[u8], rule: &str, sequence: u64) -> u8 {
    let (code, at) = begin(rig, &announce(program, rule, sequence));
    if code != Code::Ok as u8 {
        return code;
    }
    for (index, piece) in program[at as usize..].chunks(112).enumerate() {
        let offset = at as u32 + 112 * index as u32;
        assert_eq!(data(rig, offset, piece), (0, offset + piece.len() as u32));
    }
    end(rig, program).0
}

#[test]
fn a_program_arrives_and_is_there() {
    let mut rig = Rig::new();
    let bytes = program("pump", 3, &[b'x'; 300]);
    assert_eq!(push(&mut rig, &bytes, "pump", 3), Code::Ok as u8);
    assert_eq!(rig.store.program(0), Some(&bytes[..]));
    assert_eq!(rig.board.changed, [0]);
    assert_eq!(push(&mut rig, &bytes, "pump", 3), Code::Already as u8);
    assert_eq!(rig.board.changed, [0], "it was not installed again");
}

#[test]
fn every_refusal_of_a_whole_program_leaves_the_one_before() {
    let refusals: [(&[u8], Code); 6] = [
        (b"unsigned", Code::Unsigned),
        (b"foreign", Code::ForeignSigned),
        (b"changed", Code::BadSignature),
        (b"other chip", Code::WrongChip),
        (b"no such pin", Code::Incapable),
        (b"unverified", Code::Unverified),
    ];
    let mut rig = Rig::new();
    let old = program("pump", 1, b"old");
    push(&mut rig, &old, "pump", 1);
    for (text, code) in refusals {
        let bytes = program("pump", 2, text);
        assert_eq!(push(&mut rig, &bytes, "pump", 2), code as u8);
        let (repeated, why, at, place) = end(&mut rig, &bytes);
        assert_eq!(repeated, code as u8, "a repeated PUSH_END gets the same answer");
        assert_eq!((why, at), if code == Code::Unverified { (7, 21) } else { (0, 0) });
        assert_eq!(place, 255);
        assert_eq!(rig.store.program(0), Some(&old[..]));
    }
}

#[test]
fn what_is_refused_before_any_byte() {
    let mut rig = Rig::new();
    for (index, rule) in ["a", "b", "c", "d"].iter().enumerate() {
        let bytes = program(rule, 5, &[index as u8]);
        assert_eq!(push(&mut rig, &bytes, rule, 5), 0);
    }
    let bytes = program("e", 1, b"x");
    assert_eq!(begin(&mut rig, &announce(&bytes, "e", 1)).0, Code::FifthProgram as u8);
    let older = program("a", 4, b"x");
    assert_eq!(begin(&mut rig, &announce(&older, "a", 4)), (Code::Older as u8, 5));
    let mut other_abi = announce(&bytes, "a", 6);
    other_abi[48] = 9;
    assert_eq!(begin(&mut rig, &other_abi), (Code::WrongAbi as u8, 1));
    let mut other_dictionary = announce(&bytes, "a", 6);
    other_dictionary[49] = 2;
    other_dictionary[50] = 77;
    let version = u64::from(eyeflow_link::DICTIONARY_VERSION);
    assert_eq!(begin(&mut rig, &other_dictionary), (Code::OtherDictionary as u8, version));
    let mut big = announce(&bytes, "a", 6);
    big[40..44].copy_from_slice(&100_000_u32.to_le_bytes());
    big[44..48].copy_from_slice(&100_000_u32.to_le_bytes());
    assert_eq!(begin(&mut rig, &big), (Code::TooBig as u8, u64::from(rig.store.program_bytes_max())));
}

#[test]
fn a_program_that_is_not_what_was_announced() {
    let mut rig = Rig::new();
    let bytes = program("pump", 3, b"text");
    let mut other_id = announce(&bytes, "pump", 3);
    other_id[0] ^= 1;
    begin(&mut rig, &other_id);
    data(&mut rig, 0, &bytes);
    assert_eq!(rig.ask(Request::PushEnd as u8, &other_id[..32])[0], Code::BadHash as u8);
    for (rule, sequence) in [("pump", 4), ("pumq", 3)] {
        begin(&mut rig, &announce(&bytes, rule, sequence));
        data(&mut rig, 0, &bytes);
        assert_eq!(end(&mut rig, &bytes).0, Code::OtherProgram as u8);
    }
    assert_eq!(rig.store.entry(0), None);
}

#[test]
fn it_goes_on_where_it_stopped() {
    let mut rig = Rig::new();
    let bytes = program("pump", 3, &[b'y'; 500]);
    let announcement = announce(&bytes, "pump", 3);
    assert_eq!(begin(&mut rig, &announcement), (0, 0));
    assert_eq!(data(&mut rig, 0, &bytes[..100]), (0, 100));
    assert_eq!(data(&mut rig, 0, &bytes[..100]), (Code::Offset as u8, 100), "sent twice");
    assert_eq!(data(&mut rig, 200, &bytes[200..300]), (Code::Offset as u8, 100), "sent too early");
    assert_eq!(end(&mut rig, &bytes).0, Code::Offset as u8);
    assert_eq!(begin(&mut rig, &announcement), (0, 100), "another host takes over");
    assert_eq!(push(&mut rig, &bytes, "pump", 3), 0);
    assert_eq!(rig.store.program(0), Some(&bytes[..]));
}

#[test]
fn another_program_takes_the_place_of_an_interrupted_one() {
    let mut rig = Rig::new();
    let first = program("pump", 3, &[b'y'; 500]);
    let second = program("pump", 4, &[b'z'; 400]);
    begin(&mut rig, &announce(&first, "pump", 3));
    data(&mut rig, 0, &first[..100]);
    assert_eq!(push(&mut rig, &second, "pump", 4), 0);
    assert_eq!(end(&mut rig, &first).0, Code::NoTransfer as u8);
    assert_eq!(data(&mut rig, 100, &first[100..200]).0, Code::NoTransfer as u8);
    assert_eq!(rig.store.program(0), Some(&second[..]));
}

#[test]
fn a_lost_answer_to_the_end_is_no_harm() {
    let mut rig = Rig::new();
    let bytes = program("pump", 3, b"text");
    push(&mut rig, &bytes, "pump", 3);
    assert_eq!(end(&mut rig, &bytes), (Code::Already as u8, 0, 0, 0));
    assert_eq!(rig.board.changed, [0]);
}

#[test]
fn removing_keeps_older_programs_out() {
    let mut rig = Rig::new();
    let bytes = program("pump", 3, b"text");
    push(&mut rig, &bytes, "pump", 3);
    assert_eq!(rig.ask(Request::Remove as u8, b"\x04pump"), [0]);
    assert_eq!(rig.ask(Request::Remove as u8, b"\x04pump"), [Code::Unknown as u8]);
    let older = program("pump", 2, b"text");
    assert_eq!(begin(&mut rig, &announce(&older, "pump", 2)), (Code::Older as u8, 3));
    assert_eq!(push(&mut rig, &bytes, "pump", 3), 0);
    assert_eq!(rig.board.changed, [0, 0, 0]);
}

#[test]
fn malformed_requests_are_refused() {
    let mut rig = Rig::new();
    let long = vec![0; 128];
    for kind in 0..0x80 {
        for payload in [&b""[..], b"\x00", b"\xFF\xFF\xFF", b"\x05pump", &long] {
            let answer = rig.ask(kind, payload);
            assert!(!answer.is_empty(), "{kind:#x}");
        }
    }
    assert_eq!(rig.ask(0x7F, b""), [Code::NotSupported as u8]);
    assert_eq!(rig.ask(Request::Info as u8, b"\x09"), [Code::Malformed as u8]);
    assert_eq!(rig.ask(Request::Info as u8, b"\x03"), [Code::Unknown as u8, 0]);
    assert_eq!(rig.ask(Request::Hello as u8, b"x")[0], Code::Malformed as u8);
    assert!((0..4).all(|place| rig.store.entry(place).is_none()));
}

/// Stage a program as `push` pushes one.
fn stage(rig: &mut Rig, program: &[u8], rule: &str, sequence: u64) -> u8 {
    for _ in 0..1000 {
        let answer = rig.ask(Request::StageBegin as u8, &announce(program, rule, sequence));
        match answer[0] {
            code if code == Code::Wait as u8 => {}
            code if code == Code::Ok as u8 => break,
            code => return code,
        }
    }
    for (index, piece) in program.chunks(112).enumerate() {
        let offset = 112 * index as u32;
        assert_eq!(data(rig, offset, piece), (0, offset + piece.len() as u32));
    }
    end(rig, program).0
}

fn ids(programs: &[&[u8]]) -> Vec<u8> {
    programs.iter().flat_map(|program| sha256(program)).collect()
}

const OK: u8 = Code::Ok as u8;
const ALREADY: u8 = Code::Already as u8;
const UNKNOWN: u8 = Code::Unknown as u8;

#[test]
fn a_staged_program_runs_when_it_is_switched_to_and_not_before() {
    let mut rig = Rig::new();
    let (old, new) = (program("pump", 1, b"old"), program("pump", 2, b"new"));
    push(&mut rig, &old, "pump", 1);
    assert_eq!(stage(&mut rig, &new, "pump", 2), OK);
    assert_eq!(stage(&mut rig, &new, "pump", 2), ALREADY);
    assert_eq!((rig.store.program(0), &rig.board.changed), (Some(&old[..]), &vec![0]), "nothing else runs yet");
    assert_eq!(end(&mut rig, &new), (ALREADY, 0, 0, 0), "its answer may have been lost");
    assert_eq!(rig.ask(Request::Info as u8, &[0])[1], 0b100);
    assert_eq!(rig.ask(Request::Info as u8, &[0, 2])[14..46], sha256(&new));
    assert_eq!(rig.ask(Request::Switch as u8, &ids(&[&new])), [OK]);
    assert_eq!((rig.store.program(0), &rig.board.changed), (Some(&new[..]), &vec![0, 0]));
    assert_eq!(rig.ask(Request::Switch as u8, &ids(&[&new])), [ALREADY]);
    assert_eq!(rig.board.changed, [0, 0], "it was not started again");
    assert_eq!(rig.ask(Request::Info as u8, &[0, 1])[14..46], sha256(&old));
}

#[test]
fn the_board_goes_back_to_what_it_kept_and_to_nothing_else() {
    let mut rig = Rig::new();
    let (first, old, new) = (program("pump", 1, b"first"), program("pump", 2, b"old"), program("pump", 3, b"new"));
    for (sequence, bytes) in [(1, &first), (2, &old), (3, &new)] {
        push(&mut rig, bytes, "pump", sequence);
        rig.store.good(0).unwrap();
    }
    assert_eq!(rig.ask(Request::Back as u8, &ids(&[&first])), [UNKNOWN], "only to the one before");
    assert_eq!(push(&mut rig, &old, "pump", 2), Code::Older as u8);
    assert_eq!(stage(&mut rig, &old, "pump", 2), Code::Older as u8);
    assert_eq!(rig.ask(Request::Switch as u8, &ids(&[&old])), [UNKNOWN], "it is not staged");
    assert_eq!(rig.store.program(0), Some(&new[..]));
    assert_eq!(rig.ask(Request::Back as u8, &ids(&[&old])), [OK]);
    assert_eq!(rig.ask(Request::Back as u8, &ids(&[&old])), [ALREADY]);
    assert_eq!(rig.store.program(0), Some(&old[..]));
    assert_eq!(rig.ask(Request::Back as u8, &ids(&[&first])), [UNKNOWN], "not further than the last known good one");
    assert_eq!(rig.store.floor(b"pump"), 3);
}

#[test]
fn several_rules_switch_at_once_or_none_does() {
    let mut rig = Rig::new();
    let programs: Vec<_> = ["a", "b", "c", "d"].iter().map(|rule| program(rule, 2, b"new")).collect();
    for rule in ["a", "b", "c", "d"] {
        push(&mut rig, &program(rule, 1, b"old"), rule, 1);
    }
    for (index, rule) in ["a", "b", "c"].iter().enumerate() {
        assert_eq!(stage(&mut rig, &programs[index], rule, 2), OK);
    }
    let all: Vec<&[u8]> = programs.iter().map(Vec::as_slice).collect();
    assert_eq!(rig.ask(Request::Switch as u8, &ids(&all)), [UNKNOWN]);
    assert_eq!(rig.board.changed, [0, 1, 2, 3], "one is not there, so none switches");
    assert_eq!(stage(&mut rig, &programs[3], "d", 2), OK);
    assert_eq!(rig.ask(Request::Switch as u8, &ids(&all)), [OK]);
    assert_eq!(rig.board.changed, [0, 1, 2, 3, 0, 1, 2, 3]);
    for (place, bytes) in programs.iter().enumerate() {
        assert_eq!(rig.store.program(place as u8), Some(&bytes[..]));
    }
    for payload in [&[][..], &[1; 31], &[1; 33], &[1; 120]] {
        assert_eq!(rig.ask(Request::Switch as u8, payload), [Code::Malformed as u8]);
        assert_eq!(rig.ask(Request::Back as u8, payload), [Code::Malformed as u8]);
    }
}

#[test]
fn a_staged_program_is_given_up() {
    let mut rig = Rig::new();
    let new = program("pump", 2, b"new");
    assert_eq!(stage(&mut rig, &new, "pump", 2), OK);
    assert_eq!(rig.ask(Request::Info as u8, &[0]), [UNKNOWN, 0b100], "the place is taken, and nothing runs there");
    assert_eq!(rig.ask(Request::Drop as u8, &ids(&[b"another"])), [UNKNOWN]);
    assert_eq!(rig.ask(Request::Drop as u8, &ids(&[&new])), [OK]);
    assert_eq!(rig.ask(Request::Drop as u8, &ids(&[&new])), [UNKNOWN]);
    assert_eq!(rig.ask(Request::Info as u8, &[0]), [UNKNOWN, 0]);
    assert_eq!(rig.ask(Request::Info as u8, &[0, 3]), [Code::Malformed as u8]);
    assert!(rig.board.changed.is_empty(), "nothing ever ran");
}

#[test]
fn a_refused_program_stages_nothing() {
    let mut rig = Rig::new();
    let old = program("pump", 1, b"old");
    push(&mut rig, &old, "pump", 1);
    let bytes = program("pump", 2, b"changed");
    assert_eq!(stage(&mut rig, &bytes, "pump", 2), Code::BadSignature as u8);
    assert_eq!(rig.store.staged(0), None);
    assert_eq!(rig.ask(Request::Switch as u8, &ids(&[&bytes])), [UNKNOWN]);
}

#[test]
fn a_host_says_that_a_running_program_is_good_so_it_is_the_one_to_go_back_to() {
    let mut rig = Rig::new();
    let (first, old, new) = (program("pump", 1, b"first"), program("pump", 2, b"old"), program("pump", 3, b"new"));
    for (sequence, bytes) in [(1, &first), (2, &old), (3, &new)] {
        assert_eq!(push(&mut rig, bytes, "pump", sequence), OK);
        assert_eq!(rig.ask(Request::Good as u8, &ids(&[bytes])), [OK]);
        assert_eq!(rig.ask(Request::Good as u8, &ids(&[bytes])), [OK]);
        assert!(rig.store.entry(0).unwrap().good);
    }
    assert_eq!(rig.board.changed, [0, 0, 0], "it was not started again");
    assert_eq!(rig.ask(Request::Good as u8, &ids(&[&old])), [UNKNOWN], "it does not run");
    assert_eq!(rig.ask(Request::Back as u8, &ids(&[&old])), [OK]);
}
