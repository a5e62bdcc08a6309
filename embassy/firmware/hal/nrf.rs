//! The parts of an nRF52840 that the firmware uses, in the words of the firmware. Pins and peripherals are named in board.rs.

use embassy_nrf::Peri;
use embassy_nrf::buffered_uarte::{BufferedUarte, BufferedUarteRx, BufferedUarteTx};
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::peripherals::{NVMC, SAADC, WDT};
use embassy_nrf::saadc::{self, ChannelConfig, Saadc};
use embassy_nrf::wdt::{self, WatchdogHandle};
use embedded_storage::nor_flash::NorFlash;
use eyeflow_link::Reset;

pub use embassy_nrf::bind_interrupts;
pub use embassy_nrf::buffered_uarte::InterruptHandler as BufferedInterruptHandler;
pub use embassy_nrf::gpio::{Level, OutputDrive, Pull};
pub use embassy_nrf::peripherals;
pub use embassy_nrf::saadc::{ChannelConfig as AnalogPin, InterruptHandler as AnalogInterruptHandler};
#[allow(unused_imports)]
pub use embassy_nrf::spim::InterruptHandler as SpiInterruptHandler;
#[allow(unused_imports)]
pub use embassy_nrf::twim::InterruptHandler as I2cInterruptHandler;
pub use embassy_nrf::uarte::{Baudrate, Config as UartConfig};

/// An output pin.
pub type Output = embassy_nrf::gpio::Output<'static>;
/// An input pin.
pub type Input = embassy_nrf::gpio::Input<'static>;
/// The receiving half of the link's serial port.
pub type SerialRx = BufferedUarteRx<'static>;
/// The sending half of the link's serial port.
pub type SerialTx = BufferedUarteTx<'static>;
/// Both halves.
pub type Serial = BufferedUarte<'static>;

/// The analog channels, in the order of the board file.
pub struct Analog<const N: usize>(Saadc<'static, N>);

impl<const N: usize> Analog<N> {
    /// Take the converter and the pins.
    pub fn new(
        adc: Peri<'static, SAADC>,
        irq: impl embassy_nrf::interrupt::typelevel::Binding<
            embassy_nrf::interrupt::typelevel::SAADC,
            saadc::InterruptHandler,
        > + 'static,
        channels: [ChannelConfig<'static>; N],
    ) -> Self {
        Self(Saadc::new(adc, irq, saadc::Config::default(), channels))
    }

    /// Convert every channel once. A count below zero, which noise at 0 V gives, reads as 0.
    pub async fn sample(&mut self, counts: &mut [u16; N]) {
        let mut raw = [0; N];
        if N > 0 {
            self.0.sample(&mut raw).await;
        }
        for (raw, count) in raw.iter().zip(counts) {
            *count = u16::try_from(*raw).unwrap_or(0);
        }
    }
}

/// The watchdog: resets the chip unless it is fed. After a reset it may run on from before.
pub struct Watchdog(Option<WatchdogHandle>);

impl Watchdog {
    /// Start it; it cannot be stopped again.
    pub fn start(watchdog: Peri<'static, WDT>, timeout_us: u32) -> Self {
        let mut config = wdt::Config::default();
        config.timeout_ticks = timeout_us / 1000 * 32768 / 1000;
        let started = wdt::Watchdog::try_new::<_, 1>(watchdog, config);
        Self(started.ok().map(|(_, [handle])| handle))
    }

    /// Feed it.
    pub fn feed(&mut self) {
        if let Some(handle) = &mut self.0 {
            handle.pet();
        }
    }
}

/// What caused the last reset; forgets it. A processor that locked up counts as the watchdog. No bit at all: power came on.
pub fn reset() -> Reset {
    let reasons = embassy_nrf::pac::POWER.resetreas();
    let found = reasons.read();
    // Each bit is cleared by writing a one to it.
    reasons.write_value(found);
    if found.dog() || found.lockup() {
        Reset::Watchdog
    } else if found.sreq() {
        Reset::Software
    } else if found.resetpin() {
        Reset::Pin
    } else if found.0 == 0 {
        Reset::Power
    } else {
        Reset::Unknown
    }
}

/// The flash that belongs to programs.
pub struct ProgramFlash(Nvmc<'static>);

impl ProgramFlash {
    /// Take the flash controller.
    pub fn new(flash: Peri<'static, NVMC>) -> Self {
        Self(Nvmc::new(flash))
    }

    /// Program whole units at an address.
    pub fn program(&mut self, address: u32, bytes: &[u8]) -> bool {
        self.0.write(address, bytes).is_ok()
    }

    /// Erase the sector that starts at an address.
    pub fn erase(&mut self, address: u32, sector_bytes: u32) -> bool {
        self.0.erase(address, address + sector_bytes).is_ok()
    }
}

/// Copy bytes of flash; this flash can always be read.
pub fn read_flash(from: &[u8], to: &mut [u8]) -> bool {
    to.copy_from_slice(from);
    true
}

/// Take a serial port apart.
pub fn split(serial: Serial) -> (SerialTx, SerialRx) {
    let (rx, tx) = serial.split();
    (tx, rx)
}

/// The number that the manufacturer gave this very chip.
pub fn device() -> [u8; 8] {
    let ficr = embassy_nrf::pac::FICR;
    let [low, high] = [ficr.deviceid(0).read().to_le_bytes(), ficr.deviceid(1).read().to_le_bytes()];
    let ([a, b, c, d], [e, f, g, h]) = (low, high);
    [a, b, c, d, e, f, g, h]
}

/// The settings of a serial port.
pub fn uart(baud: Baudrate) -> UartConfig {
    let mut config = UartConfig::default();
    config.baudrate = baud;
    config
}

/// The longest transfer of a bus.
pub const TRANSFER_BYTES_MAX: usize = 16;

/// An I2C bus. A device that holds a line does not hold the scan.
pub struct I2c(embassy_nrf::twim::Twim<'static>);
pub type I2cError = embassy_nrf::twim::Error;

const I2C_TIMEOUT: embassy_time::Duration = embassy_time::Duration::from_millis(5);

impl embedded_hal::i2c::ErrorType for I2c {
    type Error = I2cError;
}

impl embedded_hal::i2c::I2c for I2c {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [embedded_hal::i2c::Operation<'_>],
    ) -> Result<(), I2cError> {
        self.0.blocking_transaction_timeout(address, operations, I2C_TIMEOUT)
    }
}

/// An SPI bus.
pub type Spi = embassy_nrf::spim::Spim<'static>;
pub type SpiError = embassy_nrf::spim::Error;

/// Open an I2C bus, at 100 or 400 kHz.
pub fn i2c<T: embassy_nrf::twim::Instance>(
    bus: Peri<'static, T>,
    irq: impl embassy_nrf::interrupt::typelevel::Binding<T::Interrupt, embassy_nrf::twim::InterruptHandler<T>> + 'static,
    scl: Peri<'static, impl embassy_nrf::gpio::Pin>,
    sda: Peri<'static, impl embassy_nrf::gpio::Pin>,
    hertz: u32,
    memory: &'static mut [u8; TRANSFER_BYTES_MAX],
) -> I2c {
    use embassy_nrf::twim::{Config, Frequency};
    let mut config = Config::default();
    config.frequency = if hertz >= 400_000 { Frequency::K400 } else { Frequency::K100 };
    I2c(embassy_nrf::twim::Twim::new(bus, irq, sda, scl, config, memory))
}

/// Open an SPI bus in one of the four modes, at the nearest lower clock of 125 kHz times a power of two.
pub fn spi<T: embassy_nrf::spim::Instance>(
    bus: Peri<'static, T>,
    irq: impl embassy_nrf::interrupt::typelevel::Binding<T::Interrupt, embassy_nrf::spim::InterruptHandler<T>> + 'static,
    sck: Peri<'static, impl embassy_nrf::gpio::Pin>,
    mosi: Peri<'static, impl embassy_nrf::gpio::Pin>,
    miso: Peri<'static, impl embassy_nrf::gpio::Pin>,
    hertz: u32,
    mode: usize,
) -> Spi {
    use embassy_nrf::spim::{Config, Frequency, MODE_0, MODE_1, MODE_2, MODE_3};
    let mut config = Config::default();
    config.mode = [MODE_0, MODE_1, MODE_2, MODE_3][mode & 3];
    config.frequency = match hertz {
        8_000_000.. => Frequency::M8,
        4_000_000.. => Frequency::M4,
        2_000_000.. => Frequency::M2,
        1_000_000.. => Frequency::M1,
        500_000.. => Frequency::K500,
        250_000.. => Frequency::K250,
        _ => Frequency::K125,
    };
    Spi::new(bus, irq, sck, miso, mosi, config)
}
