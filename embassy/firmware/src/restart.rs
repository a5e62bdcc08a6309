//! Why the board starts, and how often it did: in RAM that a reset leaves alone.

use core::mem::MaybeUninit;
use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use eyeflow_link::Reset;

/// What a fault leaves. RAM without power holds it by chance once in 2^32 starts.
const FAULTED: u32 = 0xFA17_ED00;

#[unsafe(link_section = ".uninit.faulted")]
static mut MARK: MaybeUninit<u32> = MaybeUninit::uninit();
#[unsafe(link_section = ".uninit.boots")]
static mut BOOTS: MaybeUninit<u32> = MaybeUninit::uninit();

/// Reset the board after a fault, and leave a mark of it: the reset alone could as well be that of a debug probe.
pub fn reset_after_fault() -> ! {
    // SAFETY: nothing else runs any more; any bits are a number.
    unsafe { write_volatile(addr_of_mut!(MARK).cast::<u32>(), FAULTED) };
    cortex_m::peripheral::SCB::sys_reset()
}

/// Why the board starts. By its watchdog or a fault: it went down while it ran. To be called once.
pub fn reset() -> Reset {
    // SAFETY: called once, before anything else could use the static; any bits are a number.
    let faulted = unsafe {
        let mark = addr_of_mut!(MARK).cast::<u32>();
        let faulted = read_volatile(mark) == FAULTED;
        write_volatile(mark, 0);
        faulted
    };
    match crate::hal::reset() {
        // A fault resets the board by software.
        Reset::Watchdog => Reset::Watchdog,
        _ if faulted => Reset::Fault,
        reset => reset,
    }
}

/// A number that differs at each boot: counted in RAM that a reset leaves alone, and mixed with what a power cut leaves.
pub fn boot_number(seed: u32) -> u32 {
    // SAFETY: called once, before anything else could use the static; any bits are a number.
    let count = unsafe {
        let boots = addr_of_mut!(BOOTS).cast::<u32>();
        write_volatile(boots, read_volatile(boots).wrapping_add(1));
        read_volatile(boots)
    };
    count.wrapping_mul(0x9E37_79B9) ^ seed
}
