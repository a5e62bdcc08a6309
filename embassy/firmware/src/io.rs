//! Inputs and outputs by the names and numbers that programs use.

use embassy_futures::poll_once;
use embedded_io_async::{Read, Write};

pub use crate::board::Buses;
use crate::capability::Capability;
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
    /// Read or act; nothing when the device does not answer or there is no such bus.
    pub fn call(&mut self, capability: Capability, numbers: &[i64; 4], text: &[u8]) -> Option<i64> {
        let [bus, first, second, third] = *numbers;
        match capability {
            Capability::ReadRegister => self.registers::<1>(bus, first, second).map(|[byte]| i64::from(byte)),
            Capability::ReadWord => self.registers(bus, first, second).map(|both| i64::from(u16::from_be_bytes(both))),
            Capability::WriteRegister => {
                let bytes = [u8::try_from(second).ok()?, u8::try_from(third).ok()?];
                self.write_registers(bus, first, &bytes)
            }
            Capability::WriteWord => {
                let [high, low] = u16::try_from(third).ok()?.to_be_bytes();
                self.write_registers(bus, first, &[u8::try_from(second).ok()?, high, low])
            }
            Capability::Transfer => {
                let mut byte = [u8::try_from(first).ok()?];
                self.spi(bus)?.0.transfer_in_place(&mut byte).ok()?;
                Some(i64::from(byte[0]))
            }
            Capability::Exchange => self.exchange(bus, first, second, third),
            Capability::WriteChannel => self.dac(bus, u16::try_from(first).ok().filter(|&count| count < 4096)?),
            Capability::ReadByte => Some(self.uart(bus)?.take().map_or(-1, i64::from)),
            Capability::WriteByte => self.uart(bus)?.send(&[u8::try_from(first).ok()?]),
            Capability::WriteText => self.uart(bus)?.send(text),
            _ => None,
        }
    }

    fn write_registers(&mut self, bus: i64, device: i64, bytes: &[u8]) -> Option<i64> {
        self.i2c(bus)?.write(address(device)?, bytes).ok()?;
        Some(0)
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
    pub fn send(&mut self, text: &[u8]) -> Option<i64> {
        match poll_once(self.0.write(text)) {
            core::task::Poll::Ready(Ok(count)) if count == text.len() => Some(0),
            _ => None,
        }
    }
}
