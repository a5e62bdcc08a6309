//! Frames that wait for the serial port, so that nothing in a scan waits for the line.

/// Room for the answer to one request and a few lines of the log.
const OUTBOX_BYTES: usize = 288;

/// Bytes to be sent, in order. What does not fit is dropped whole and counted: the host asks again.
pub struct Outbox {
    bytes: [u8; OUTBOX_BYTES],
    start: usize,
    end: usize,
    /// Frames that were dropped.
    pub dropped: u32,
}

impl Outbox {
    /// Nothing to be sent.
    pub const fn new() -> Self {
        Self { bytes: [0; OUTBOX_BYTES], start: 0, end: 0, dropped: 0 }
    }

    /// Add a frame.
    pub fn push(&mut self, frame: &[u8]) {
        if self.end + frame.len() > OUTBOX_BYTES {
            self.move_to_front();
        }
        match self.bytes.get_mut(self.end..self.end + frame.len()) {
            Some(place) => {
                place.copy_from_slice(frame);
                self.end += frame.len();
            }
            None => self.dropped = self.dropped.wrapping_add(1),
        }
    }

    /// Byte by byte: the copy of the standard library for what may overlap takes 600 bytes of flash.
    fn move_to_front(&mut self) {
        let count = self.end - self.start;
        for index in 0..count {
            let byte = self.bytes.get(self.start + index).copied().unwrap_or(0);
            if let Some(place) = self.bytes.get_mut(index) {
                *place = byte;
            }
        }
        (self.start, self.end) = (0, count);
    }

    /// What is to be sent next.
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or(&[])
    }

    /// So many bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}
