//! What the rules by hand need as guests of a virtual machine: the board by system calls, and a start.
#![no_std]
#![allow(missing_docs)]

pub mod io;
#[path = "../../src/counts/native.rs"]
pub mod native;

/// The program of a guest: a rule that waits for the next scan and runs, for ever.
#[macro_export]
macro_rules! guest {
    ($rule:ident) => {
        core::arch::global_asm!(
            ".section .text.start, \"ax\"",
            ".globl _start",
            "_start:",
            "lui sp, 0x80000",
            "addi sp, sp, 1024",
            "j run",
        );

        #[unsafe(no_mangle)]
        extern "C" fn run() -> ! {
            let mut rule = $crate::native::$rule::FRESH;
            let mut io = $crate::io::Io { time_us: 0 };
            loop {
                let done = io.next_scan().and_then(|()| rule.step(&mut io));
                io.end_scan(done.is_ok());
            }
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            // SAFETY: it ends the guest.
            unsafe { core::arch::asm!("ebreak", options(noreturn)) }
        }
    };
}
