//! Whatever the flash holds, the board boots, and can be given a program.
#![no_main]

use eyeflow_slots::sim::{NRF52, SimFlash};
use eyeflow_slots::{Bank, Begin, Claim, Store};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut flash = SimFlash::<4>::new(NRF52, 1);
    flash.overwrite(Bank::A, data);
    let mut store = Store::<_, 4>::open(flash);
    let claim = Claim { rule: b"pump", id: &[7; 32], sequence: u64::MAX, length: 3, staged: false };
    for _ in 0..10_000 {
        match store.begin(0, &claim) {
            Ok(Begin::Ready) => break,
            Ok(Begin::Wait(_)) => {}
            // A log that is full of committed records is refused, not overwritten.
            Err(_) => return,
        }
    }
    store.write(b"abc").unwrap();
    assert_eq!(store.finish().unwrap(), b"abc");
    store.commit().unwrap();
    assert_eq!(store.program(0), Some(&b"abc"[..]));
});
