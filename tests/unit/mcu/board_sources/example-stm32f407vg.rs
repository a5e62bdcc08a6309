//! The board discovery: made from board.toml by eyeflow, change it there.

use crate::hal::{self, *};
use crate::io::{Line, OutputInfo, Uart};
use crate::once::once;

/// Name and chip, as the board reports them.
pub const NAME: &str = "discovery";
pub const CHIP: &str = "STM32F407VG";
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
pub const DEVICE: [u8; 8] = [0xFA, 0x44, 0x13, 0x2B, 0x23, 0x8E, 0x67, 0x95];
/// The flash of the programs.
pub const BANKS: [u32; 2] = [0x08010000, 0x08020000];
pub const BANK_BYTES: u32 = 65536;
pub const SECTOR_BYTES: [u32; 2] = [65536, 131072];
pub const UNIT_BYTES: usize = 4;
/// The memory that the programs share, and that each of the four has for itself.
pub const SLOTS_MAX: usize = 192;
pub const STACK_MAX: usize = 32;
pub const ACTIONS_MAX: usize = 16;
pub const SCRATCH_BYTES: usize = 512;
pub const STATE_BYTES: usize = 1024;
pub const RECORDS_BYTES: usize = 512;
pub const DATA_BYTES: u32 = 11264;

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
    dac: DacOne,
}

impl Buses {
    pub const I2C: usize = 1;
    pub const SPI: usize = 0;
    pub const UART: usize = 0;
    pub const DAC: usize = 1;

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

    pub fn dac(&mut self, number: i64, count: u16) -> Option<i64> {
        match number {
            0 => self.dac.set(count),
            _ => return None,
        }
        Some(0)
    }
}

bind_interrupts!(struct Irqs {
    USART2 => BufferedInterruptHandler<peripherals::USART2>;
});

/// Take the chip: every output starts at its safe level.
#[inline(never)]
pub fn open() -> Io {
    let p = embassy_stm32::init(hal::config());
    let (tx, rx) = (once!([u8; 128] = [0; 128]), once!([u8; 256] = [0; 256]));
    let pins = (p.PA3, p.PA2);
    let config = hal::uart(115200);
    let serial = hal::opened(Serial::new(p.USART2, pins.0, pins.1, tx, rx, Irqs, config));
    Io {
        outputs: [Output::new(p.PD13, Level::Low, Speed::Low), Output::new(p.PD12, Level::Low, Speed::Low)],
        inputs: [Input::new(p.PD0, Pull::Up)],
        analog: Analog::new(p.ADC1, [p.PC1.degrade_adc(), p.PC2.degrade_adc()]),
        watchdog: Watchdog::start(p.IWDG, WATCHDOG_US),
        serial,
        flash: ProgramFlash::new(p.FLASH),
        buses: Buses { i2c_0: hal::i2c(p.I2C1, p.PB6, p.PB7, 100000), dac: DacOne::new(p.DAC1, p.PA4) },
    }
}
