//! The board of the counted rules: one scan's inputs and outputs in memory, which the caller fills and reads.

pub const CHANNELS: usize = 4;
pub const LINES: usize = 8;

/// Lines are numbered as the pins of a rule are: inputs and outputs in one row.
#[repr(C)]
pub struct Io {
    pub time_us: i64,
    pub counts: [u16; CHANNELS],
    pub word: u16,
    pub inputs: [bool; LINES],
    pub levels: [u8; LINES],
    pub analog: [u16; CHANNELS],
}

/// A read or an action that the board has no line for.
#[derive(Clone, Copy)]
pub struct Missing;

/// What drivers do is the same work for every candidate, so it is a call for every candidate.
impl Io {
    #[inline(never)]
    pub fn read_channel(&self, channel: usize) -> Option<f64> {
        self.counts.get(channel).map(|count| f64::from(*count))
    }

    #[inline(never)]
    pub fn read_pin(&self, line: usize) -> Option<bool> {
        self.inputs.get(line).copied()
    }

    #[inline(never)]
    pub fn read_word(&self, bus: i64, address: i64, register: i64) -> Option<i64> {
        (bus == 0 && address == 64 && register == 2).then_some(i64::from(self.word))
    }

    #[inline(never)]
    pub fn set_pin(&mut self, line: usize, high: bool) -> Result<(), Missing> {
        *self.levels.get_mut(line).ok_or(Missing)? = u8::from(high);
        Ok(())
    }

    #[inline(never)]
    pub fn write_channel(&mut self, channel: usize, value: i64) -> Result<(), Missing> {
        *self.analog.get_mut(channel).ok_or(Missing)? = u16::try_from(value).map_err(|_| Missing)?;
        Ok(())
    }
}
