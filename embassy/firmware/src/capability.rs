//! The capabilities that the firmware knows, by name: looked up once, then a number.

use crate::board::{ANALOG, Buses};

/// A capability.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    ReadPin,
    SetPin,
    Log(eyeflow_link::Level),
    ReadChannel,
    ReadRegister,
    ReadWord,
    WriteRegister,
    WriteWord,
    Transfer,
    Exchange,
    WriteChannel,
    ReadByte,
    WriteByte,
    WriteText,
    #[cfg(feature = "llm")]
    Llm,
}

use Capability::*;
use eyeflow_link::Level;

static NAMES: &[(&str, Capability)] = &[
    ("gpio.read_pin", ReadPin),
    ("gpio.set_pin", SetPin),
    ("log.info", Log(Level::Info)),
    ("log.warn", Log(Level::Warning)),
    ("log.error", Log(Level::Error)),
    ("adc.read_channel", ReadChannel),
    ("i2c.read_register", ReadRegister),
    ("i2c.read_word", ReadWord),
    ("i2c.write_register", WriteRegister),
    ("i2c.write_word", WriteWord),
    ("spi.transfer", Transfer),
    ("spi.exchange", Exchange),
    ("dac.write_channel", WriteChannel),
    ("uart.read_byte", ReadByte),
    ("uart.write_byte", WriteByte),
    ("uart.write_text", WriteText),
    #[cfg(feature = "llm")]
    ("llm.classify", Llm),
    #[cfg(feature = "llm")]
    ("llm.complete", Llm),
];

impl Capability {
    /// The capability of this name, if the board has it.
    #[inline(never)]
    pub fn of(name: &[u8]) -> Option<Self> {
        let (_, found) = NAMES.iter().find(|(known, _)| known.as_bytes() == name)?;
        let count = match found {
            ReadPin | SetPin | Log(_) => 1,
            ReadChannel => ANALOG,
            ReadRegister | ReadWord | WriteRegister | WriteWord => Buses::I2C,
            Transfer | Exchange => Buses::SPI,
            WriteChannel => Buses::DAC,
            ReadByte | WriteByte | WriteText => Buses::UART,
            #[cfg(feature = "llm")]
            Llm => 1,
        };
        (count > 0).then_some(*found)
    }
}
