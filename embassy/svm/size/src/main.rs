//! Everything of the SVM that a firmware calls, linked for a Cortex-M and nothing else: see `measure.sh`.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use eyeflow_svm::{Event, Host, Instance, Machine, Program, Status, Verified, Workspace, verify_mcu};

/// What a board hands to the SVM.
pub struct Board<'a, 'm> {
    bytes: &'a [u8],
    program: Option<Verified<'a>>,
    instance: (&'m mut [u64], &'m mut [u8]),
    work: (&'m mut [u64], &'m mut [u8]),
    event: Event<'a>,
    host: &'a mut dyn Host,
}

/// Decode and verify.
#[unsafe(no_mangle)]
pub extern "C" fn load(board: &mut Board<'_, '_>) -> bool {
    let verified = Program::decode(board.bytes).and_then(|program| verify_mcu(&program));
    board.program = verified.as_ref().ok().copied();
    verified.is_ok()
}

/// Run one event.
#[unsafe(no_mangle)]
pub extern "C" fn step(board: &mut Board<'_, '_>) -> u32 {
    let Some(program) = &board.program else { return 1 };
    let Ok(mut instance) = Instance::new(program, board.instance.0, board.instance.1) else { return 2 };
    let mut workspace = Workspace::new(board.work.0, board.work.1);
    let Ok(mut machine) = Machine::new(program, &mut instance, &mut workspace) else { return 3 };
    let Ok(mut execution) = machine.start(&board.event) else { return 4 };
    match machine.run(&mut execution, board.host) {
        Status::Ok => 0,
        Status::Trapped(trap) => 16 + trap as u32,
        _ => execution.fuel,
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
