//! Any bytes: refused or decoded, and what is decoded is verified or refused. `cargo +nightly fuzz run decode`.
#![no_main]

use eyeflow_svm::{Program, Signed, verify, verify_mcu};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(signed) = Signed::parse(data) {
        assert!(signed.signatures().count() <= 4);
    }
    if let Ok(program) = Program::decode(data) {
        let mcu = verify_mcu(&program);
        let linux = verify(&program);
        assert!(mcu.is_err() || linux.is_ok());
        for index in 0..program.sites() {
            let _ = program.site(index).unwrap().names();
        }
        for index in 0..program.triggers() {
            assert!(program.handler(index).is_some() && program.trigger(index).is_some());
        }
    }
});
