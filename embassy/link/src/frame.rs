//! Frames on the line: a delimiter, COBS, a delimiter. docs/serial-link.md, Frames.

use eyeflow_slots::crc::crc32;

/// The longest payload of a frame.
pub const PAYLOAD_BYTES_MAX: usize = 128;
/// Type, sequence and CRC.
pub const OVERHEAD_BYTES: usize = 6;
/// The longest frame before COBS.
pub const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + OVERHEAD_BYTES;
/// The longest frame on the line: delimiters and the one byte that COBS adds to up to 254 bytes.
pub const WIRE_BYTES_MAX: usize = FRAME_BYTES_MAX + 3;

const CRC_BYTES: usize = 4;
const DELIMITER: u8 = 0;

/// A whole and undamaged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is: see `Request` and `Unasked`; an answer has bit 7 set.
    pub kind: u8,
    /// The number of the request, which its answer repeats.
    pub sequence: u8,
    /// The rest.
    pub payload: &'a [u8],
}

/// Turns bytes as they arrive into frames. Anything between two delimiters that is no frame is dropped and counted.
#[derive(Clone, Debug)]
pub struct Receiver {
    buffer: [u8; FRAME_BYTES_MAX],
    length: u8,
    /// Bytes left of the COBS block.
    block: u8,
    /// Whether the end of the block stands for a zero.
    zero: bool,
    spoiled: bool,
    good: u32,
    bad: u32,
}

impl Receiver {
    /// Nothing received yet.
    pub const fn new() -> Self {
        Self { buffer: [0; FRAME_BYTES_MAX], length: 0, block: 0, zero: false, spoiled: false, good: 0, bad: 0 }
    }

    /// Frames received, and stretches of bytes dropped.
    pub const fn counts(&self) -> (u32, u32) {
        (self.good, self.bad)
    }

    /// Take one byte; gives the frame that it ends.
    pub fn push(&mut self, byte: u8) -> Option<Frame<'_>> {
        if byte == DELIMITER {
            return self.end();
        }
        if self.block == 0 {
            if self.zero {
                self.store(0);
            }
            self.block = byte - 1;
            self.zero = byte != 0xFF;
        } else {
            self.block -= 1;
            self.store(byte);
        }
        None
    }

    fn store(&mut self, byte: u8) {
        match self.buffer.get_mut(usize::from(self.length)) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.spoiled = true,
        }
    }

    fn end(&mut self) -> Option<Frame<'_>> {
        let length = usize::from(self.length);
        let whole = !self.spoiled && self.block == 0;
        let silent = !self.spoiled && self.length == 0 && self.block == 0 && !self.zero;
        self.length = 0;
        self.block = 0;
        self.zero = false;
        self.spoiled = false;
        if silent {
            return None;
        }
        match self.buffer.get(..length).filter(|_| whole).and_then(check) {
            Some(frame) => {
                self.good = self.good.wrapping_add(1);
                Some(frame)
            }
            None => {
                self.bad = self.bad.wrapping_add(1);
                None
            }
        }
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

/// The frame in these bytes, when their CRC is right.
fn check(bytes: &[u8]) -> Option<Frame<'_>> {
    let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    let (&[kind, sequence], payload) = content.split_first_chunk::<2>()?;
    (crc32(content) == u32::from_le_bytes(*crc)).then_some(Frame { kind, sequence, payload })
}

/// Write a frame as it goes over the line; gives its length. A payload over `PAYLOAD_BYTES_MAX` is cut.
pub fn encode(frame: &Frame<'_>, wire: &mut [u8; WIRE_BYTES_MAX]) -> usize {
    let mut cobs = Cobs { wire, at: 2, code_at: 1 };
    let mut crc = eyeflow_slots::crc::Crc::new();
    let payload = frame.payload.iter().take(PAYLOAD_BYTES_MAX);
    for &byte in [frame.kind, frame.sequence].iter().chain(payload) {
        crc.update(&[byte]);
        cobs.put(byte);
    }
    for byte in crc.value().to_le_bytes() {
        cobs.put(byte);
    }
    cobs.finish()
}

/// Stuffs up to 254 bytes: the place of the next zero stands in front.
struct Cobs<'a> {
    wire: &'a mut [u8; WIRE_BYTES_MAX],
    at: usize,
    code_at: usize,
}

impl Cobs<'_> {
    fn set(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.wire.get_mut(at) {
            *place = byte;
        }
    }

    fn put(&mut self, byte: u8) {
        if byte == DELIMITER {
            self.close();
        } else {
            self.set(self.at, byte);
            self.at += 1;
        }
    }

    fn close(&mut self) {
        self.set(self.code_at, (self.at - self.code_at) as u8);
        self.code_at = self.at;
        self.at += 1;
    }

    fn finish(mut self) -> usize {
        self.close();
        self.set(0, DELIMITER);
        self.set(self.code_at, DELIMITER);
        self.at
    }
}
