//! Rules whose instructions are counted on an emulated core: by the SVM and by hand. bench/cores.py calls these functions.
//!
//! Each function that counts does one thing; what opens and begins is not counted.
#![no_std]
#![no_main]

mod board;
mod io;
mod native;

use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use board::Board;
use io::Io;
use native::{Done, FlowControl, Interlock, OverheatRelay, Vote, WindowMean};

const FAILED: u32 = u32::MAX;

/// Put a board for a program at `place`.
///
/// # Safety
/// `place` is aligned memory for a board; the program is `size` bytes and stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn svm_open(place: &mut MaybeUninit<Board<'static>>, program: *const u8, size: usize) {
    // SAFETY: as the caller promises.
    place.write(Board::new(unsafe { core::slice::from_raw_parts(program, size) }));
}

/// Decode and prove.
#[unsafe(no_mangle)]
pub extern "C" fn svm_load(board: &mut Board<'static>) -> u32 {
    u32::from(board.load())
}

/// Initial state.
#[unsafe(no_mangle)]
pub extern "C" fn svm_begin(board: &mut Board<'static>) -> u32 {
    u32::from(board.begin())
}

/// Bytes of RAM: the instance in the upper half of the word, the workspace in the lower.
#[unsafe(no_mangle)]
pub extern "C" fn svm_needs(board: &mut Board<'static>) -> u32 {
    let (instance, workspace) = board.needs();
    (instance as u32) << 16 | workspace as u32
}

/// One execution; its fuel.
#[unsafe(no_mangle)]
pub extern "C" fn svm_step(board: &mut Board<'static>, io: &mut Io) -> u32 {
    board.step(io).unwrap_or(FAILED)
}

/// All rules by hand.
pub struct Natives {
    interlock: Interlock,
    flow_control: FlowControl,
    overheat_relay: OverheatRelay,
    window_mean: WindowMean,
    vote: Vote,
}

/// Put all rules by hand at `place`, at their initial state.
#[unsafe(no_mangle)]
pub extern "C" fn native_open(place: &mut MaybeUninit<Natives>) {
    place.write(Natives {
        interlock: Interlock::FRESH,
        flow_control: FlowControl::FRESH,
        overheat_relay: OverheatRelay::FRESH,
        window_mean: WindowMean::FRESH,
        vote: Vote::FRESH,
    });
}

fn code(done: Done) -> u32 {
    if done.is_ok() { 0 } else { FAILED }
}

#[unsafe(no_mangle)]
pub extern "C" fn native_interlock(rules: &mut Natives, io: &mut Io) -> u32 {
    code(rules.interlock.step(io))
}

#[unsafe(no_mangle)]
pub extern "C" fn native_flow_control(rules: &mut Natives, io: &mut Io) -> u32 {
    code(rules.flow_control.step(io))
}

#[unsafe(no_mangle)]
pub extern "C" fn native_overheat_relay(rules: &mut Natives, io: &mut Io) -> u32 {
    code(rules.overheat_relay.step(io))
}

#[unsafe(no_mangle)]
pub extern "C" fn native_window_mean(rules: &mut Natives, io: &mut Io) -> u32 {
    code(rules.window_mean.step(io))
}

#[unsafe(no_mangle)]
pub extern "C" fn native_vote(rules: &mut Natives, io: &mut Io) -> u32 {
    code(rules.vote.step(io))
}

/// Check a signature over 51 bytes, as that of a program is.
#[unsafe(no_mangle)]
pub extern "C" fn check_signature(key: &[u8; 32], message: &[u8; 51], signature: &[u8; 64]) -> u32 {
    u32::from(eyeflow_ed25519::verify(key, message, signature))
}

/// An undefined instruction: the emulator reports it.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it ends the emulation.
    unsafe { core::arch::asm!("udf #0", options(noreturn)) }
}
