//! Inputs and outputs by the names and numbers that programs use.

use embassy_futures::poll_once;
use embedded_io_async::{Read, Write};

pub use crate::board::Buses;
use crate::hal::Serial;

/// The most bytes of one exchange: what comes back stays a positive number.
const EXCHANGE_BYTES_MAX: usize = 7;

/// Where a named pin is.
#[derive(Clone, Copy)]
pub enum Line {
    /// An output, by its place.
    Output(u8),
    /// An input, by its place.
    Input(u8),
}

/// What an output does when nothing commands it.
#[derive(Clone, Copy)]
pub struct OutputInfo {
    /// Its level at boot and after a fault.
    pub safe_high: bool,
    /// Whether it goes there too when the link is lost.
    pub safe_on_link_loss: bool,
}

impl Buses {
    /// Whether a program may use a capability of a bus or converter on this board.
    pub fn has(&self, capability: &[u8]) -> bool {
        match capability {
            b"i2c.read_register" | b"i2c.read_word" | b"i2c.write_register" | b"i2c.write_word" => Self::I2C > 0,
            b"spi.transfer" | b"spi.exchange" => Self::SPI > 0,
            b"dac.write_channel" => Self::DAC > 0,
            b"uart.read_byte" | b"uart.write_byte" | b"uart.write_text" => Self::UART > 0,
            _ => false,
        }
    }

    /// Read; nothing when the device does not answer or there is no such bus.
    pub fn read(&mut self, capability: &[u8], numbers: &[i64; 4]) -> Option<i64> {
        let [bus, first, second, third] = *numbers;
        match capability {
            b"i2c.read_register" => self.registers::<1>(bus, first, second).map(|[byte]| i64::from(byte)),
            b"i2c.read_word" => self.registers(bus, first, second).map(|both| i64::from(u16::from_be_bytes(both))),
            b"spi.transfer" => {
                let mut byte = [u8::try_from(first).ok()?];
                self.spi(bus)?.0.transfer_in_place(&mut byte).ok()?;
                Some(i64::from(byte[0]))
            }
            b"spi.exchange" => self.exchange(bus, first, second, third),
            b"uart.read_byte" => Some(self.uart(bus)?.take().map_or(-1, i64::from)),
            _ => None,
        }
    }

    /// Act; nothing when the device does not answer or there is no such bus.
    pub fn act(&mut self, capability: &[u8], numbers: &[i64; 4], text: &[u8]) -> Option<()> {
        let [bus, first, second, third] = *numbers;
        match capability {
            b"i2c.write_register" => {
                let bytes = [u8::try_from(second).ok()?, u8::try_from(third).ok()?];
                self.i2c(bus)?.write(address(first)?, &bytes).ok()
            }
            b"i2c.write_word" => {
                let [high, low] = u16::try_from(third).ok()?.to_be_bytes();
                let bytes = [u8::try_from(second).ok()?, high, low];
                self.i2c(bus)?.write(address(first)?, &bytes).ok()
            }
            b"dac.write_channel" => self.dac(bus, u16::try_from(first).ok().filter(|&count| count < 4096)?),
            b"uart.write_byte" => self.uart(bus)?.send(&[u8::try_from(first).ok()?]),
            b"uart.write_text" => self.uart(bus)?.send(text),
            _ => None,
        }
    }

    /// Select a device, send the lowest `count` bytes of `value`, highest first, and give back what came meanwhile.
    fn exchange(&mut self, bus: i64, device: i64, value: i64, count: i64) -> Option<i64> {
        let count = usize::try_from(count).ok().filter(|count| (1..=EXCHANGE_BYTES_MAX).contains(count))?;
        let mut bytes = value.to_be_bytes();
        let (above, sent) = bytes.split_at_mut(size_of::<i64>() - count);
        if above.iter().any(|&byte| byte != 0) {
            return None;
        }
        let (spi, selects) = self.spi(bus)?;
        let select = selects.get_mut(usize::try_from(device).ok()?)?;
        select.set_low();
        let done = spi.transfer_in_place(sent).and_then(|()| spi.flush());
        select.set_high();
        done.ok()?;
        Some(i64::from_be_bytes(bytes))
    }

    fn registers<const N: usize>(&mut self, bus: i64, device: i64, register: i64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let register = [u8::try_from(register).ok()?];
        self.i2c(bus)?.write_read(address(device)?, &register, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// The address of an I2C device: seven bits.
fn address(number: i64) -> Option<u8> {
    u8::try_from(number).ok().filter(|&address| address < 128)
}

/// A serial port that programs use.
#[allow(dead_code)]
pub struct Uart(pub Serial);

impl Uart {
    /// The next byte that arrived.
    pub fn take(&mut self) -> Option<u8> {
        let mut byte = [0];
        let read = poll_once(self.0.read(&mut byte));
        matches!(read, core::task::Poll::Ready(Ok(1))).then_some(byte[0])
    }

    /// Send a text; nothing when it does not fit what still waits to be sent.
    pub fn send(&mut self, text: &[u8]) -> Option<()> {
        match poll_once(self.0.write(text)) {
            core::task::Poll::Ready(Ok(count)) if count == text.len() => Some(()),
            _ => None,
        }
    }
}
