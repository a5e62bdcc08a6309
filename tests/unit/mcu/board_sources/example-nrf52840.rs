//! The board nrf52840-dk: made from board.toml by eyeflow, change it there.

use crate::hal::{self, *};
use crate::io::{Line, OutputInfo, Uart};
use crate::once::once;

/// Name and chip, as the board reports them.
pub const NAME: &str = "nrf52840-dk";
pub const CHIP: &str = "nRF52840";
/// Time between two scans, and after which the watchdog resets a board that scans no more.
pub const SCAN_MS: u64 = 10;
pub const WATCHDOG_US: u32 = 8000000;
/// Time between two writes of a program's changed state to flash.
pub const SAVE_S: u32 = 60;
/// Time without a frame after which the link counts as lost.
pub const LINK_LOST_MS: u64 = 10000;
pub const LLM_DELEGATED: bool = false;
/// The pins that programs name, and where each is.
pub static PINS: [(&str, Line); 3] = [
    ("RELAY", Line::Output(0)),
    ("LED", Line::Output(1)),
    ("DOOR", Line::Input(0)),
];
/// What the outputs do when nothing commands them.
pub static OUTPUTS: [OutputInfo; 2] = [
    OutputInfo { safe_high: false, safe_on_link_loss: false },
    OutputInfo { safe_high: true, safe_on_link_loss: false },
];
/// How many inputs and analog channels there are.
pub const INPUTS: usize = 1;
pub const ANALOG: usize = 2;
/// The keys whose programs run here.
pub static SIGNERS: [[u8; 32]; 0] = [
];
/// The number of a board whose chip has none of its own: made from its name.
#[allow(dead_code)]
pub const DEVICE: [u8; 8] = [0x67, 0x75, 0x1A, 0x8E, 0xE1, 0x12, 0x32, 0xEB];
/// The flash of the programs.
pub const BANKS: [u32; 2] = [0x00010000, 0x00020000];
pub const BANK_BYTES: u32 = 65536;
pub const SECTOR_BYTES: [u32; 2] = [4096, 4096];
pub const UNIT_BYTES: usize = 4;
/// The memory that the programs share, and that each of the four has for itself.
pub const SLOTS_MAX: usize = 128;
pub const STACK_MAX: usize = 32;
pub const ACTIONS_MAX: usize = 16;
pub const SCRATCH_BYTES: usize = 384;
pub const STATE_BYTES: usize = 512;
pub const RECORDS_BYTES: usize = 256;
pub const DATA_BYTES: u32 = 7808;

/// Everything that the firmware drives.
pub struct Io {
    pub outputs: [Output; OUTPUTS.len()],
    pub inputs: [Input; INPUTS],
    pub analog: Analog<ANALOG>,
    pub watchdog: Watchdog,
    pub serial: Serial,
    pub flash: ProgramFlash,
    pub buses: Buses,
}

/// The buses and converters that programs use by number.
pub struct Buses {
    i2c_0: I2c,
}

impl Buses {
    pub const I2C: usize = 1;
    pub const SPI: usize = 0;
    pub const UART: usize = 0;
    pub const DAC: usize = 0;

    pub fn i2c(&mut self, number: i64) -> Option<&mut dyn embedded_hal::i2c::I2c<Error = I2cError>> {
        match number {
            0 => Some(&mut self.i2c_0),
            _ => None,
        }
    }

    /// A bus, and the pins that select its devices.
    pub fn spi(&mut self, number: i64) -> Option<(&mut dyn embedded_hal::spi::SpiBus<Error = SpiError>, &mut [Output])> {
        match number {
            _ => None,
        }
    }

    pub fn uart(&mut self, number: i64) -> Option<&mut Uart> {
        match number {
            _ => None,
        }
    }

    pub fn dac(&mut self, number: i64, _count: u16) -> Option<i64> {
        match number {
            _ => return None,
        }
    }
}

bind_interrupts!(struct Irqs {
    UARTE0 => BufferedInterruptHandler<peripherals::UARTE0>;
    TWISPI0 => I2cInterruptHandler<peripherals::TWISPI0>;
    SAADC => AnalogInterruptHandler;
});

/// Take the chip: every output starts at its safe level.
#[inline(never)]
pub fn open() -> Io {
    let p = embassy_nrf::init(Default::default());
    let config = hal::uart(Baudrate::Baud115200);
    let (tx, rx) = (once!([u8; 128] = [0; 128]), once!([u8; 256] = [0; 256]));
    let pins = (p.P0_08, p.P0_06);
    let ppi = (p.PPI_CH0, p.PPI_CH1, p.PPI_GROUP0);
    Io {
        outputs: [Output::new(p.P1_01, Level::Low, OutputDrive::Standard), Output::new(p.P0_13, Level::High, OutputDrive::Standard)],
        inputs: [Input::new(p.P0_11, Pull::Up)],
        analog: Analog::new(p.SAADC, Irqs, [AnalogPin::single_ended(p.P0_03), AnalogPin::single_ended(p.P0_04)]),
        watchdog: Watchdog::start(p.WDT, WATCHDOG_US),
        serial: Serial::new(p.UARTE0, p.TIMER1, ppi.0, ppi.1, ppi.2, pins.0, pins.1, Irqs, config, rx, tx),
        flash: ProgramFlash::new(p.NVMC),
        buses: Buses { i2c_0: hal::i2c(p.TWISPI0, Irqs, p.P0_27, p.P0_26, 100000, once!([u8; TRANSFER_BYTES_MAX] = [0; TRANSFER_BYTES_MAX])) },
    }
}
