//! The parts of an STM32 that the firmware uses, in the words of the firmware. Pins and peripherals are named in board.rs.

use embassy_stm32::Peri;
use embassy_stm32::adc::{Adc, AnyAdcChannel, SampleTime};
use embassy_stm32::flash::{Blocking, Flash as Controller};
use embassy_stm32::mode::Blocking as Blocked;
#[cfg(feature = "stm32f4")]
use embassy_stm32::peripherals::IWDG;
#[cfg(feature = "stm32h7")]
use embassy_stm32::peripherals::IWDG1 as IWDG;
use embassy_stm32::peripherals::{ADC1, FLASH};
use embassy_stm32::time::Hertz;
use embassy_stm32::usart::ConfigError;
use embassy_stm32::usart::{BufferedUart, BufferedUartRx, BufferedUartTx};
use embassy_stm32::wdg::IndependentWatchdog;
use eyeflow_link::Reset;

pub use embassy_stm32::adc::AdcChannel;
pub use embassy_stm32::bind_interrupts;
pub use embassy_stm32::gpio::{Level, Pull, Speed};
pub use embassy_stm32::peripherals;
pub use embassy_stm32::usart::{BufferedInterruptHandler, Config as UartConfig};

/// An output pin.
pub type Output = embassy_stm32::gpio::Output<'static>;
/// An input pin.
pub type Input = embassy_stm32::gpio::Input<'static>;
/// The receiving half of the link's serial port.
pub type SerialRx = BufferedUartRx<'static>;
/// The sending half of the link's serial port.
pub type SerialTx = BufferedUartTx<'static>;
/// Both halves.
pub type Serial = BufferedUart<'static>;

/// The chip's flash at offset 0.
const FLASH_START: u32 = 0x0800_0000;

/// The analog channels, in the order of the board file.
pub struct Analog<const N: usize> {
    adc: Adc<'static, ADC1>,
    channels: [AnyAdcChannel<'static, ADC1>; N],
}

impl<const N: usize> Analog<N> {
    /// Take the converter and the pins.
    pub fn new(adc: Peri<'static, ADC1>, channels: [AnyAdcChannel<'static, ADC1>; N]) -> Self {
        Self { adc: Adc::new(adc), channels }
    }

    /// Convert every channel once.
    pub async fn sample(&mut self, counts: &mut [u16; N]) {
        for (channel, count) in self.channels.iter_mut().zip(counts) {
            *count = self.adc.blocking_read(channel, SAMPLE_TIME);
        }
    }
}

#[cfg(feature = "stm32h7")]
const SAMPLE_TIME: SampleTime = SampleTime::CYCLES64_5;
#[cfg(not(feature = "stm32h7"))]
const SAMPLE_TIME: SampleTime = SampleTime::CYCLES84;

/// The watchdog: resets the chip unless it is fed.
pub struct Watchdog(IndependentWatchdog<'static, IWDG>);

impl Watchdog {
    /// Start it; it cannot be stopped again.
    pub fn start(watchdog: Peri<'static, IWDG>, timeout_us: u32) -> Self {
        let mut watchdog = IndependentWatchdog::new(watchdog, timeout_us);
        watchdog.unleash();
        Self(watchdog)
    }

    /// Feed it.
    pub fn feed(&mut self) {
        self.0.pet();
    }
}

/// What caused the last reset; forgets it. The pin is low in every reset, so its bit says something only alone; the bit of
/// a brown-out is set when power comes on, too.
#[cfg(feature = "stm32f4")]
pub fn reset() -> Reset {
    let rcc = embassy_stm32::pac::RCC;
    let csr = rcc.csr().read();
    rcc.csr().modify(|csr| csr.set_rmvf(true));
    cause(csr.wdgrstf(), csr.sftrstf(), csr.borrstf(), csr.padrstf())
}

/// The same.
#[cfg(feature = "stm32h7")]
pub fn reset() -> Reset {
    let rcc = embassy_stm32::pac::RCC;
    let rsr = rcc.rsr().read();
    rcc.rsr().modify(|rsr| rsr.set_rmvf(true));
    cause(rsr.iwdg1rstf(), rsr.sftrstf(), rsr.borrstf(), rsr.pinrstf())
}

const fn cause(watchdog: bool, software: bool, power: bool, pin: bool) -> Reset {
    if watchdog {
        Reset::Watchdog
    } else if software {
        Reset::Software
    } else if power {
        Reset::Power
    } else if pin {
        Reset::Pin
    } else {
        Reset::Unknown
    }
}

/// The flash that belongs to programs.
pub struct ProgramFlash(Controller<'static, Blocking>);

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
#[cfg(not(feature = "stm32h7"))]
pub fn read_flash(from: &[u8], to: &mut [u8]) -> bool {
    to.copy_from_slice(from);
    true
}

/// Copy bytes of flash; false when the error correction gave a unit up, as after a power cut.
///
/// Such a load is a bus fault, and would end in HardFault. While faults are masked and BFHFNMIGN is set it only leaves a
/// mark in CFSR (Armv7-M reference manual, B3.2.15), which is all that is wanted of it.
#[cfg(feature = "stm32h7")]
pub fn read_flash(from: &[u8], to: &mut [u8]) -> bool {
    const CCR: *mut u32 = 0xE000_ED14 as *mut u32;
    const CFSR: *mut u32 = 0xE000_ED28 as *mut u32;
    const BFHFNMIGN: u32 = 1 << 8;
    const BUS_FAULTS: u32 = 0xFF00;
    // SAFETY: the two registers are those of the core's own control block; faults are unmasked again before it returns,
    // and what was read while one occurred is not used.
    let faults = unsafe {
        core::arch::asm!("cpsid f", options(nostack, preserves_flags));
        CFSR.write_volatile(BUS_FAULTS);
        CCR.write_volatile(CCR.read_volatile() | BFHFNMIGN);
        cortex_m::asm::dsb();
        for (to, from) in to.iter_mut().zip(from) {
            *to = core::ptr::read_volatile(from);
        }
        cortex_m::asm::dsb();
        let faults = CFSR.read_volatile() & BUS_FAULTS;
        CFSR.write_volatile(BUS_FAULTS);
        CCR.write_volatile(CCR.read_volatile() & !BFHFNMIGN);
        core::arch::asm!("cpsie f", options(nostack, preserves_flags));
        faults
    };
    if faults != 0 {
        // The controller would hold the error against the next write.
        embassy_stm32::pac::FLASH.bank(0).ccr().write(|ccr| ccr.set_clr_dbeccerr(true));
        embassy_stm32::pac::FLASH.bank(1).ccr().write(|ccr| ccr.set_clr_dbeccerr(true));
    }
    faults == 0
}

/// The clocks: those that the chip starts with. They are accurate enough for the link and need no crystal.
pub fn config() -> embassy_stm32::Config {
    #[allow(unused_mut)]
    let mut config = embassy_stm32::Config::default();
    #[cfg(feature = "stm32h7")]
    {
        // After reset the converters hang on a PLL that is off.
        config.rcc.mux.adcsel = embassy_stm32::rcc::mux::Adcsel::PER;
    }
    config
}

/// The first bytes of the number that the manufacturer gave this very chip.
pub fn device() -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = embassy_stm32::uid::uid();
    [a, b, c, d, e, f, g, h]
}

/// The settings of a serial port.
pub fn uart(baud: u32) -> UartConfig {
    let mut config = UartConfig::default();
    config.baudrate = baud;
    config
}

/// A serial port whose settings the chip refused is a mistake of the board file that the build cannot see.
pub fn opened(serial: Result<Serial, ConfigError>) -> Serial {
    match serial {
        Ok(serial) => serial,
        Err(_) => cortex_m::peripheral::SCB::sys_reset(),
    }
}

/// An I2C bus.
pub type I2c = embassy_stm32::i2c::I2c<'static, Blocked, embassy_stm32::i2c::Master>;
pub type I2cError = embassy_stm32::i2c::Error;
/// An SPI bus.
pub type Spi = embassy_stm32::spi::Spi<'static, Blocked, embassy_stm32::spi::mode::Master>;
pub type SpiError = embassy_stm32::spi::Error;

/// Open an I2C bus. A device that does not answer costs a scan a few milliseconds.
pub fn i2c<T: embassy_stm32::i2c::Instance>(
    bus: Peri<'static, T>,
    scl: Peri<'static, impl embassy_stm32::i2c::SclPin<T>>,
    sda: Peri<'static, impl embassy_stm32::i2c::SdaPin<T>>,
    hertz: u32,
) -> I2c {
    let mut config = embassy_stm32::i2c::Config::default();
    config.frequency = Hertz(hertz);
    config.timeout = embassy_time::Duration::from_millis(5);
    I2c::new_blocking(bus, scl, sda, config)
}

/// Open an SPI bus in one of the four modes.
pub fn spi<T: embassy_stm32::spi::Instance>(
    bus: Peri<'static, T>,
    sck: Peri<'static, impl embassy_stm32::spi::SckPin<T>>,
    mosi: Peri<'static, impl embassy_stm32::spi::MosiPin<T>>,
    miso: Peri<'static, impl embassy_stm32::spi::MisoPin<T>>,
    hertz: u32,
    mode: usize,
) -> Spi {
    use embassy_stm32::spi::{MODE_0, MODE_1, MODE_2, MODE_3};
    let mut config = embassy_stm32::spi::Config::default();
    config.frequency = Hertz(hertz);
    config.mode = [MODE_0, MODE_1, MODE_2, MODE_3][mode & 3];
    Spi::new_blocking(bus, sck, mosi, miso, config)
}

/// Take a serial port apart.
pub fn split(serial: Serial) -> (SerialTx, SerialRx) {
    serial.split()
}

/// One analog output, where the pin of the other is used for something else.
#[cfg(feature = "dac")]
#[allow(dead_code)]
pub struct DacOne(embassy_stm32::dac::DacChannel<'static, Blocked>);

#[cfg(feature = "dac")]
#[allow(dead_code)]
impl DacOne {
    /// Take the converter and the pin.
    pub fn new<C: embassy_stm32::dac::Channel>(
        dac: Peri<'static, peripherals::DAC1>,
        pin: Peri<'static, impl embassy_stm32::dac::DacPin<peripherals::DAC1, C>>,
    ) -> Self {
        Self(embassy_stm32::dac::DacChannel::new_blocking(dac, pin))
    }

    /// Set it to a count of 12 bits.
    pub fn set(&mut self, count: u16) {
        self.0.set(embassy_stm32::dac::Value::Bit12Right(count));
    }
}

/// The two analog outputs.
#[cfg(feature = "dac")]
#[allow(dead_code)]
pub struct Dac(embassy_stm32::dac::Dac<'static, Blocked>);

#[cfg(feature = "dac")]
#[allow(dead_code)]
impl Dac {
    /// Take the converter and its pins.
    pub fn new(
        dac: Peri<'static, peripherals::DAC1>,
        first: Peri<'static, peripherals::PA4>,
        second: Peri<'static, peripherals::PA5>,
    ) -> Self {
        Self(embassy_stm32::dac::Dac::new_blocking(dac, first, second))
    }

    /// Set output 1 to a count of 12 bits.
    pub fn set_1(&mut self, count: u16) {
        self.0.ch1().set(embassy_stm32::dac::Value::Bit12Right(count));
    }

    /// Set output 2 to a count of 12 bits.
    pub fn set_2(&mut self, count: u16) {
        self.0.ch2().set(embassy_stm32::dac::Value::Bit12Right(count));
    }
}
