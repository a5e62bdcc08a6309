//! The firmware of an eyeflow board: a scan cycle that runs signed programs, and a serial link that changes them.
#![no_std]
#![no_main]

mod area;
mod board;
mod capability;
mod crypto;
mod hal;
mod io;
mod keeping;
#[cfg(any(feature = "llm", feature = "events"))]
mod call;
#[cfg(feature = "llm")]
mod llm;
mod once;
mod outbox;
mod place;
mod restart;
mod runtime;
mod session;
mod stack;
mod world;

use core::mem::MaybeUninit;

use embassy_executor::Spawner;
use embassy_futures::select::{Either3, select3};
use embassy_time::{Duration, Instant, Ticker};
use embedded_io_async::{Read, Write};
use eyeflow_link::Link;

use crate::area::{Area, Store};
use crate::board::{INPUTS, Io, OUTPUTS};
use crate::once::once;
use crate::outbox::Outbox;
use crate::runtime::Runtime;
use crate::world::World;

const RX_BYTES: usize = 32;
/// Bytes that go to the port at once. Some ports take all or nothing, and say so only at the next scan.
const PIECE_BYTES: usize = 32;

/// A panic is a bug of the firmware: the reset puts every output to its safe level.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    restart::reset_after_fault()
}

/// So is a fault of the processor, a stack that overflows among them.
#[cortex_m_rt::exception(trampoline = false)]
unsafe fn HardFault() -> ! {
    restart::reset_after_fault()
}

/// What identifies this very board.
fn device() -> [u8; 8] {
    hal::device()
}

/// What lasts as long as the board runs.
struct Parts {
    store: &'static mut Store,
    runtime: &'static mut Runtime,
    link: &'static mut Link,
    outbox: &'static mut Outbox,
}

/// Set up what lasts. Not inlined: its frame is large, and shall not stay on the stack.
#[inline(never)]
fn parts(flash: hal::ProgramFlash, buses: board::Buses) -> Parts {
    let store = once!(MaybeUninit<Store> = MaybeUninit::uninit()).write(Store::open(Area(flash)));
    let boot = restart::boot_number(store.used_bytes().0 ^ store.generation() << 20);
    let reset = restart::reset();
    let runtime = once!(MaybeUninit<Runtime> = MaybeUninit::uninit()).write(Runtime::new(World::new(buses), boot, reset));
    runtime.begin_records();
    let link = once!(MaybeUninit<Link> = MaybeUninit::uninit()).write(Link::new());
    Parts { store, runtime, link, outbox: once!(Outbox = Outbox::new()) }
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    stack::paint();
    let Io { mut outputs, inputs, mut analog, mut watchdog, serial, flash, buses } = board::open();
    let Parts { store, runtime, link, outbox } = parts(flash, buses);
    read_inputs(&inputs, runtime);
    runtime.world.inputs_before = runtime.world.inputs;
    runtime.boot(store, Instant::now().as_micros());
    let (mut tx, mut rx) = hal::split(serial);
    let mut ticker = Ticker::every(Duration::from_millis(board::SCAN_MS));
    let mut heard = Instant::now();
    let mut bytes = [0; RX_BYTES];
    loop {
        let sending = async {
            match outbox.pending() {
                [] => core::future::pending().await,
                pending => tx.write(pending.get(..PIECE_BYTES).unwrap_or(pending)).await,
            }
        };
        match select3(ticker.next(), rx.read(&mut bytes), sending).await {
            Either3::First(()) => {
                let began = Instant::now();
                watchdog.feed();
                analog.sample(&mut runtime.world.counts).await;
                read_inputs(&inputs, runtime);
                runtime.scan(store, outbox, Instant::now().as_micros());
                let lost = heard.elapsed() > Duration::from_millis(board::LINK_LOST_MS);
                write_outputs(&mut outputs, runtime, lost);
                runtime.tend(store, outbox, Instant::now().as_micros());
                runtime.scan_us_max = runtime.scan_us_max.max(began.elapsed().as_micros() as u32);
            }
            Either3::Second(Ok(count)) => {
                for &byte in bytes.get(..count).unwrap_or(&[]) {
                    if listen(byte, link, store, runtime, outbox) {
                        heard = Instant::now();
                    }
                }
            }
            // A framing error or an overrun: the frame that it hit fails its check, and the host sends it again.
            Either3::Second(Err(_)) => {}
            Either3::Third(Ok(count)) => outbox.sent(count),
            // A piece that the port refuses would be refused again: the host asks again for its frame.
            Either3::Third(Err(_)) => outbox.sent(PIECE_BYTES),
        }
    }
}

/// Take a byte from the line; returns whether it ended a request, which was answered.
#[inline(never)]
fn listen(byte: u8, link: &mut Link, store: &mut Store, runtime: &mut Runtime, outbox: &mut Outbox) -> bool {
    let mut answered = false;
    link.on_byte(byte, store, runtime, &mut |frame| {
        answered = true;
        outbox.push(frame);
    });
    if answered {
        runtime.refresh(store, Instant::now().as_micros());
    }
    answered
}

#[inline(never)]
fn read_inputs(inputs: &[hal::Input; INPUTS], runtime: &mut Runtime) {
    for (level, input) in runtime.world.inputs.iter_mut().zip(inputs) {
        *level = input.is_high();
    }
}

/// Outputs that are declared so go to their safe level while the link is lost; the others keep what is commanded.
fn write_outputs(outputs: &mut [hal::Output; OUTPUTS.len()], runtime: &Runtime, lost: bool) {
    for ((output, level), info) in outputs.iter_mut().zip(runtime.world.levels).zip(&OUTPUTS) {
        let level = if lost && info.safe_on_link_loss { info.safe_high } else { level };
        output.set_level(level.into());
    }
}
