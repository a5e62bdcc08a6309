//! The board pico: made from board.toml by eyeflow, change it there.

use crate::hal::{self, *};
use crate::io::{Line, OutputInfo, Uart};
use crate::once::once;

/// Name and chip, as the board reports them.
pub const NAME: &str = "pico";
pub const CHIP: &str = "RP2040";
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
    OutputInfo { safe_high: false, safe_on_link_loss: false },
];
/// How many inputs and analog channels there are.
pub const INPUTS: usize = 1;
pub const ANALOG: usize = 2;
/// The keys whose programs run here.
pub static SIGNERS: [[u8; 32]; 0] = [
];
/// The number of a board whose chip has none of its own: made from its name.
#[allow(dead_code)]
pub const DEVICE: [u8; 8] = [0x9E, 0xA2, 0x48, 0x3B, 0x34, 0x4B, 0xB5, 0xC5];
/// The flash of the programs.
pub const BANKS: [u32; 2] = [0x10010000, 0x10020000];
pub const BANK_BYTES: u32 = 65536;
pub const SECTOR_BYTES: [u32; 2] = [4096, 4096];
pub const UNIT_BYTES: usize = 256;
/// The memory that the programs share, and that each of the four has for itself.
pub const SLOTS_MAX: usize = 96;
pub const STACK_MAX: usize = 24;
pub const ACTIONS_MAX: usize = 12;
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
    i2c_0: I2c<peripherals::I2C0>,
    spi_0: Spi<peripherals::SPI0>,
    selects_0: [Output; 2],
    uart_0: Uart,
}

impl Buses {
    pub const I2C: usize = 1;
    pub const SPI: usize = 1;
    pub const UART: usize = 1;
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
            0 => Some((&mut self.spi_0, &mut self.selects_0)),
            _ => None,
        }
    }

    pub fn uart(&mut self, number: i64) -> Option<&mut Uart> {
        match number {
            0 => Some(&mut self.uart_0),
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
    UART0_IRQ => BufferedInterruptHandler<peripherals::UART0>;
    UART1_IRQ => BufferedInterruptHandler<peripherals::UART1>;
});

/// Take the chip: every output starts at its safe level.
#[inline(never)]
pub fn open() -> Io {
    let p = embassy_rp::init(Default::default());
    let config = hal::uart(115200);
    let pins = (p.PIN_0, p.PIN_1);
    let (tx, rx) = (once!([u8; 128] = [0; 128]), once!([u8; 256] = [0; 256]));
    Io {
        outputs: [Output::new(p.PIN_2, Level::Low), Output::new(p.PIN_25, Level::Low)],
        inputs: [Input::new(p.PIN_3, Pull::Up)],
        analog: Analog::new(p.ADC, [AnalogPin::new_pin(p.PIN_26, Pull::None), AnalogPin::new_pin(p.PIN_27, Pull::None)]),
        watchdog: Watchdog::start(p.WATCHDOG, WATCHDOG_US),
        serial: Serial::new(p.UART0, pins.0, pins.1, Irqs, tx, rx, config),
        flash: ProgramFlash::new(p.FLASH),
        buses: Buses { i2c_0: hal::i2c(p.I2C0, p.PIN_5, p.PIN_4, 100000), spi_0: hal::spi(p.SPI0, p.PIN_18, p.PIN_19, p.PIN_16, 1000000, 3), selects_0: [Output::new(p.PIN_17, Level::High), Output::new(p.PIN_20, Level::High)], uart_0: Uart(Serial::new(p.UART1, p.PIN_8, p.PIN_9, Irqs, once!([u8; 64] = [0; 64]), once!([u8; 64] = [0; 64]), hal::uart(9600))) },
    }
}
