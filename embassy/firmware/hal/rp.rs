//! The parts of an RP2040 that the firmware uses, in the words of the firmware. Pins and peripherals are named in board.rs.

use embassy_rp::Peri;
use embassy_rp::adc::{Adc, Blocking, Channel, Config as AdcConfig};
use embassy_rp::flash::{self, Flash as Controller};
use embassy_rp::peripherals::{ADC, FLASH, WATCHDOG};
use embassy_rp::uart::{BufferedUart, BufferedUartRx, BufferedUartTx};
use embassy_time::Duration;
use eyeflow_link::Reset;

pub use embassy_rp::adc::Channel as AnalogPin;
pub use embassy_rp::bind_interrupts;
pub use embassy_rp::gpio::{Level, Pull};
pub use embassy_rp::peripherals;
pub use embassy_rp::uart::{BufferedInterruptHandler, Config as UartConfig};

/// An output pin.
pub type Output = embassy_rp::gpio::Output<'static>;
/// An input pin.
pub type Input = embassy_rp::gpio::Input<'static>;
/// The receiving half of the link's serial port.
pub type SerialRx = BufferedUartRx;
/// The sending half of the link's serial port.
pub type SerialTx = BufferedUartTx;
/// Both halves.
pub type Serial = BufferedUart;

/// The chip's flash at offset 0.
const FLASH_START: u32 = 0x1000_0000;
/// More than the flash has that any board carries: the firmware keeps to its own area.
const FLASH_BYTES: usize = 16 * 1024 * 1024;

/// The analog channels, in the order of the board file.
pub struct Analog<const N: usize> {
    adc: Adc<'static, Blocking>,
    channels: [Channel<'static>; N],
}

impl<const N: usize> Analog<N> {
    /// Take the converter and the pins.
    pub fn new(adc: Peri<'static, ADC>, channels: [Channel<'static>; N]) -> Self {
        let adc = Adc::new_blocking(adc, AdcConfig::default());
        Self { adc, channels }
    }

    /// Convert every channel once. A channel that fails keeps its last count.
    pub async fn sample(&mut self, counts: &mut [u16; N]) {
        for (channel, count) in self.channels.iter_mut().zip(counts) {
            *count = self.adc.blocking_read(channel).unwrap_or(*count);
        }
    }
}

/// The watchdog: resets the chip unless it is fed.
pub struct Watchdog {
    watchdog: embassy_rp::watchdog::Watchdog,
    timeout: Duration,
}

impl Watchdog {
    /// Start it.
    pub fn start(watchdog: Peri<'static, WATCHDOG>, timeout_us: u32) -> Self {
        let timeout = Duration::from_micros(u64::from(timeout_us));
        let mut watchdog = embassy_rp::watchdog::Watchdog::new(watchdog);
        watchdog.start(timeout);
        Self { watchdog, timeout }
    }

    /// Feed it.
    pub fn feed(&mut self) {
        self.watchdog.feed(self.timeout);
    }
}

/// What caused the last reset. The chip does not tell a reset by software from others.
pub fn reset() -> Reset {
    let chip = embassy_rp::pac::VREG_AND_CHIP_RESET.chip_reset().read();
    if embassy_rp::pac::WATCHDOG.reason().read().timer() {
        Reset::Watchdog
    } else if chip.had_run() {
        Reset::Pin
    } else if chip.had_por() {
        Reset::Power
    } else {
        Reset::Unknown
    }
}

/// The flash that belongs to programs. While it is written the chip runs from RAM, with interrupts off.
pub struct ProgramFlash(Controller<'static, FLASH, flash::Blocking, FLASH_BYTES>);

impl ProgramFlash {
    /// Take the flash controller.
    pub fn new(flash: Peri<'static, FLASH>) -> Self {
        Self(Controller::new_blocking(flash))
    }

    /// Program whole units at an address.
    pub fn program(&mut self, address: u32, bytes: &[u8]) -> bool {
        self.0.blocking_write(address - FLASH_START, bytes).is_ok()
    }

    /// Erase the sector that starts at an address.
    pub fn erase(&mut self, address: u32, sector_bytes: u32) -> bool {
        let from = address - FLASH_START;
        self.0.blocking_erase(from, from + sector_bytes).is_ok()
    }
}

/// Copy bytes of flash; this flash can always be read.
pub fn read_flash(from: &[u8], to: &mut [u8]) -> bool {
    to.copy_from_slice(from);
    true
}

/// Take a serial port apart.
pub fn split(serial: Serial) -> (SerialTx, SerialRx) {
    serial.split()
}

/// What identifies this very board: the chip has no number, so it is derived from what the build gave the board.
pub fn device() -> [u8; 8] {
    crate::board::DEVICE
}

/// The settings of a serial port.
pub fn uart(baud: u32) -> UartConfig {
    let mut config = UartConfig::default();
    config.baudrate = baud;
    config
}

/// An I2C bus, and the bits of its two lines. A device that holds a line does not hold the scan: no transfer begins.
pub struct I2c<T: embassy_rp::i2c::Instance + 'static> {
    bus: embassy_rp::i2c::I2c<'static, T, embassy_rp::i2c::Blocking>,
    lines: u32,
}
pub type I2cError = embassy_rp::i2c::Error;

impl<T: embassy_rp::i2c::Instance + 'static> embedded_hal::i2c::ErrorType for I2c<T> {
    type Error = I2cError;
}

impl<T: embassy_rp::i2c::Instance + 'static> embedded_hal::i2c::I2c for I2c<T> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [embedded_hal::i2c::Operation<'_>],
    ) -> Result<(), I2cError> {
        // Between two transfers both lines are high, after the few microseconds that they take to rise.
        embassy_time::block_for(RISE);
        if embassy_rp::pac::SIO.gpio_in(0).read() & self.lines != self.lines {
            return Err(I2cError::Abort(embassy_rp::i2c::AbortReason::ArbitrationLoss));
        }
        self.bus.transaction(address, operations)
    }
}

const RISE: Duration = Duration::from_micros(20);
/// An SPI bus.
pub type Spi<T> = embassy_rp::spi::Spi<'static, T, embassy_rp::spi::Blocking>;
pub type SpiError = embassy_rp::spi::Error;

/// Open an I2C bus.
pub fn i2c<T: embassy_rp::i2c::Instance>(
    bus: Peri<'static, T>,
    scl: Peri<'static, impl embassy_rp::i2c::SclPin<T> + embassy_rp::gpio::Pin>,
    sda: Peri<'static, impl embassy_rp::i2c::SdaPin<T> + embassy_rp::gpio::Pin>,
    hertz: u32,
) -> I2c<T> {
    let lines = 1 << scl.pin() | 1 << sda.pin();
    let mut config = embassy_rp::i2c::Config::default();
    config.frequency = hertz;
    I2c { bus: embassy_rp::i2c::I2c::new_blocking(bus, scl, sda, config), lines }
}

/// Open an SPI bus in one of the four modes.
pub fn spi<T: embassy_rp::spi::Instance>(
    bus: Peri<'static, T>,
    sck: Peri<'static, impl embassy_rp::spi::ClkPin<T>>,
    mosi: Peri<'static, impl embassy_rp::spi::MosiPin<T>>,
    miso: Peri<'static, impl embassy_rp::spi::MisoPin<T>>,
    hertz: u32,
    mode: usize,
) -> Spi<T> {
    use embassy_rp::spi::{Phase, Polarity};
    let mut config = embassy_rp::spi::Config::default();
    config.frequency = hertz;
    config.polarity = if mode & 2 == 0 { Polarity::IdleLow } else { Polarity::IdleHigh };
    config.phase = if mode & 1 == 0 { Phase::CaptureOnFirstTransition } else { Phase::CaptureOnSecondTransition };
    Spi::new_blocking(bus, sck, mosi, miso, config)
}
