//! The board by system calls: the number in a7, arguments from a0, then an error in a0 and a value in a1.

const END_SCAN: i32 = 0;
const READ_CHANNEL: i32 = 1;
const READ_PIN: i32 = 2;
const READ_WORD: i32 = 3;
const SET_PIN: i32 = 4;
const WRITE_CHANNEL: i32 = 5;
const NEXT_SCAN: i32 = 6;

pub struct Missing;

pub struct Io {
    pub time_us: i64,
}

#[inline(always)]
fn call(number: i32, first: i32, second: i32, third: i32) -> Option<i32> {
    let (error, value): (i32, i32);
    // SAFETY: the host reads the registers and writes a0, a1 and, for NEXT_SCAN, the place that it is told.
    unsafe {
        core::arch::asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") first => error,
            inlateout("a1") second => value,
            in("a2") third,
        );
    }
    (error == 0).then_some(value)
}

impl Io {
    pub fn next_scan(&mut self) -> Result<(), crate::native::Fault> {
        let place = &raw mut self.time_us;
        call(NEXT_SCAN, place as i32, 0, 0).map(|_| ()).ok_or(crate::native::Fault)
    }

    pub fn end_scan(&self, good: bool) {
        call(END_SCAN, i32::from(good), 0, 0);
    }

    pub fn read_channel(&self, channel: usize) -> Option<f64> {
        call(READ_CHANNEL, channel as i32, 0, 0).map(f64::from)
    }

    pub fn read_pin(&self, line: usize) -> Option<bool> {
        call(READ_PIN, line as i32, 0, 0).map(|level| level != 0)
    }

    pub fn read_word(&self, bus: i64, address: i64, register: i64) -> Option<i64> {
        call(READ_WORD, bus as i32, address as i32, register as i32).map(i64::from)
    }

    pub fn set_pin(&mut self, line: usize, high: bool) -> Result<(), Missing> {
        call(SET_PIN, line as i32, i32::from(high), 0).map(|_| ()).ok_or(Missing)
    }

    pub fn write_channel(&mut self, channel: usize, value: i64) -> Result<(), Missing> {
        call(WRITE_CHANNEL, channel as i32, value as i32, 0).map(|_| ()).ok_or(Missing)
    }
}
