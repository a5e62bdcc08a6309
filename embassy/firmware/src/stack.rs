//! How much of the stack was ever used: it is painted at the start, and what is still painted was never touched.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

const PAINT: u32 = 0x5AC3_A53C;
/// Bytes below the stack pointer that painting itself may use.
const IN_USE_BYTES: usize = 64;

unsafe extern "C" {
    static mut _stack_end: u32;
    static mut _stack_start: u32;
}

/// Paint the stack below what is in use now.
pub fn paint() {
    let top = (cortex_m::register::msp::read() as usize - IN_USE_BYTES) as *mut u32;
    // SAFETY: the symbol comes from memory.x and is the end of the stack; only the part below the frames in use is written.
    unsafe {
        let mut word = addr_of_mut!(_stack_end);
        while word < top {
            write_volatile(word, PAINT);
            word = word.add(1);
        }
    }
}

/// Bytes of the stack, and how many of them were ever used.
pub fn used() -> (u32, u32) {
    // SAFETY: reads words between the two symbols of memory.x.
    unsafe {
        let (bottom, top) = (addr_of!(_stack_end), addr_of!(_stack_start));
        let mut word = bottom;
        while word < top && read_volatile(word) == PAINT {
            word = word.add(1);
        }
        ((top as usize - bottom as usize) as u32, (top as usize - word as usize) as u32)
    }
}

unsafe extern "C" {
    static __sdata: u32;
    static __ebss: u32;
}

/// Bytes of data in RAM.
pub fn data_used() -> u32 {
    (addr_of!(__ebss) as usize - addr_of!(__sdata) as usize) as u32
}
