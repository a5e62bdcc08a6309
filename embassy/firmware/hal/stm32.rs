//! The parts of an STM32 that the firmware uses, in the words of the firmware. Pins and peripherals are named in board.rs.

use embassy_stm32::adc::{Adc, AnyAdcChannel, SampleTime};
use embassy_stm32::flash::{Blocking, Flash as Controller};
use embassy_stm32::peripherals::{ADC1, FLASH, IWDG};
use embassy_stm32::usart::{BufferedUart, BufferedUartRx, BufferedUartTx};
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::Peri;

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

/// The number that the manufacturer gave this very chip.
pub fn unique_id() -> [u8; 12] {
    embassy_stm32::uid::uid()
}

/// Take a serial port apart.
pub fn split(serial: Serial) -> (SerialTx, SerialRx) {
    serial.split()
}
