//! embive with one guest on an emulated core. bench/embive.py calls these functions.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../../src/counts/io.rs"]
mod io;

use core::mem::MaybeUninit;
use core::num::NonZeroI32;
use core::panic::PanicInfo;

use embive::interpreter::memory::{Memory, SliceMemory};
use embive::interpreter::{Error, Interpreter, SYSCALL_ARGS, State};
use io::Io;

const FAILED: u32 = u32::MAX;
const ABSENT: Result<i32, NonZeroI32> = Err(NonZeroI32::MIN);

/// As large as the guest's stack: guest/src/lib.rs.
const RAM_BYTES: usize = 1024;
/// A rule may take no longer; the SVM bounds its own by fuel.
const INSTRUCTIONS_MAX: u32 = 1_000_000;

/// The virtual machine, and the memory that it borrows.
pub struct Vm {
    ram: [u8; RAM_BYTES],
    memory: MaybeUninit<SliceMemory<'static>>,
    interpreter: MaybeUninit<Interpreter<'static, SliceMemory<'static>>>,
}

/// Put a virtual machine for a guest at `place`.
///
/// # Safety
/// `place` is aligned memory for it and stays; the code is `size` bytes and stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_open(place: *mut Vm, code: *const u8, size: usize) {
    // SAFETY: as the caller promises; each part of the machine is borrowed by the next one alone.
    unsafe {
        (&raw mut (*place).ram).write([0; RAM_BYTES]);
        let memory = SliceMemory::new(core::slice::from_raw_parts(code, size), &mut (*place).ram);
        let memory = (*place).memory.write(memory);
        (*place).interpreter.write(Interpreter::new(memory, INSTRUCTIONS_MAX));
    }
}

/// Run the guest's start, until it asks for the first scan.
///
/// # Safety
/// `vm_open` came before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_begin(place: &mut Vm) -> u32 {
    // SAFETY: as the caller promises.
    let interpreter = unsafe { place.interpreter.assume_init_mut() };
    u32::from(interpreter.run() == Ok(State::Called))
}

/// One scan: answer the guest, which asked for it, and run until it asks for the next one. FAILED when it says so.
///
/// # Safety
/// `vm_begin` came before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_step(place: &mut Vm, io: &mut Io) -> u32 {
    // SAFETY: as the caller promises.
    let interpreter = unsafe { place.interpreter.assume_init_mut() };
    let mut good = false;
    loop {
        let mut ended = false;
        let answered =
            interpreter.syscall(&mut |number, args: &[i32; SYSCALL_ARGS], memory: &mut SliceMemory<'static>| {
                if number == 0 {
                    (ended, good) = (true, args[0] != 0);
                    return Ok(Ok(0));
                }
                answer(number, args, memory, io)
            });
        if answered.is_err() || interpreter.run() != Ok(State::Called) {
            return FAILED;
        }
        if ended {
            return if good { 0 } else { FAILED };
        }
    }
}

/// The system calls of guest/src/io.rs.
fn answer<M: Memory>(
    number: i32,
    args: &[i32; SYSCALL_ARGS],
    memory: &mut M,
    io: &mut Io,
) -> Result<Result<i32, NonZeroI32>, Error> {
    let [first, second, third, ..] = *args;
    let line = first as usize;
    Ok(match number {
        1 => io.counts.get(line).map_or(ABSENT, |count| Ok(i32::from(*count))),
        2 => io.read_pin(line).map_or(ABSENT, |level| Ok(i32::from(level))),
        3 => io.read_word(first.into(), second.into(), third.into()).map_or(ABSENT, |word| Ok(word as i32)),
        4 => io.set_pin(line, second != 0).map_or(ABSENT, |()| Ok(0)),
        5 => io.write_channel(line, second.into()).map_or(ABSENT, |()| Ok(0)),
        6 => {
            memory.store_bytes(first as u32, &io.time_us.to_le_bytes())?;
            Ok(0)
        }
        _ => ABSENT,
    })
}

/// An undefined instruction: the emulator reports it.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it ends the emulation.
    unsafe { core::arch::asm!("udf #0", options(noreturn)) }
}
