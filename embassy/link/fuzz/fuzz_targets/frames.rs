//! Whatever arrives, the receiver survives it, and what it takes for a frame is one: encoded again it is received again.
#![no_main]

use eyeflow_link::{Receiver, WIRE_BYTES_MAX, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut receiver = Receiver::new();
    for &byte in data {
        let Some(frame) = receiver.push(byte) else {
            continue;
        };
        let mut wire = [0; WIRE_BYTES_MAX];
        let length = encode(&frame, &mut wire);
        let mut other = Receiver::new();
        let mut found = 0;
        for &byte in &wire[..length] {
            if let Some(again) = other.push(byte) {
                assert_eq!(again, frame);
                found += 1;
            }
        }
        assert_eq!(found, 1);
    }
});
