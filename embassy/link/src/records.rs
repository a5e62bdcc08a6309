//! The execution records that wait for the host: a ring of bytes, each record numbered and chained by SHA-256.
//! docs/serial-link.md, Records.

use crate::bytes::Reply;

/// The longest record.
pub const RECORD_BYTES_MAX: usize = 96;

const HASH_BYTES: usize = 32;
const SEQUENCE_BYTES: usize = 4;

/// SHA-256, from whoever has one.
pub type Sha256 = fn(&[u8]) -> [u8; HASH_BYTES];

/// A ring of records in `R`, for example `[u8; 512]`. When it is full the oldest record makes room and is counted as lost.
#[derive(Clone, Debug)]
pub struct Records<R> {
    ring: R,
    sha256: Sha256,
    /// Where the oldest record starts, and how many bytes all have with their length bytes.
    start: usize,
    used: usize,
    oldest: u32,
    next: u32,
    lost: u32,
    /// The chain before the oldest record and after the newest.
    base: [u8; HASH_BYTES],
    head: [u8; HASH_BYTES],
}

impl<R: AsRef<[u8]> + AsMut<[u8]>> Records<R> {
    /// An empty ring; `genesis` is what the chain starts from: the SHA-256 of the board's identity and boot number.
    pub const fn new(ring: R, sha256: Sha256, genesis: [u8; HASH_BYTES]) -> Self {
        Self { ring, sha256, start: 0, used: 0, oldest: 0, next: 0, lost: 0, base: genesis, head: genesis }
    }

    /// Start the chain anew, before the first record.
    pub const fn begin(&mut self, genesis: [u8; HASH_BYTES]) {
        self.base = genesis;
        self.head = genesis;
    }

    /// Add a record; one that is too long, or longer than the ring, is counted as lost.
    pub fn push(&mut self, record: &[u8]) {
        let room = self.ring.as_ref().len();
        if record.is_empty() || record.len() > RECORD_BYTES_MAX || record.len() >= room {
            self.lost = self.lost.wrapping_add(1);
            return;
        }
        while self.used + record.len() + 1 > room {
            self.lost = self.lost.wrapping_add(1);
            self.drop_oldest();
        }
        self.put(record.len() as u8);
        for &byte in record {
            self.put(byte);
        }
        self.head = chain(self.sha256, &self.head, self.next, record);
        self.next = self.next.wrapping_add(1);
    }

    fn put(&mut self, byte: u8) {
        let at = self.place(self.used);
        if let Some(place) = self.ring.as_mut().get_mut(at) {
            *place = byte;
        }
        self.used += 1;
    }

    /// The place in the ring of the byte at `offset` from the oldest one.
    fn place(&self, offset: usize) -> usize {
        let at = self.start + offset;
        let room = self.ring.as_ref().len();
        if at >= room { at - room } else { at }
    }

    fn get(&self, offset: usize) -> u8 {
        let at = self.place(offset);
        self.ring.as_ref().get(at).copied().unwrap_or(0)
    }

    /// Copy the record at `offset`; gives its length.
    fn copy(&self, offset: usize, record: &mut [u8; RECORD_BYTES_MAX]) -> usize {
        let length = usize::from(self.get(offset)).min(RECORD_BYTES_MAX);
        for (index, place) in record.iter_mut().take(length).enumerate() {
            *place = self.get(offset + 1 + index);
        }
        length
    }

    fn drop_oldest(&mut self) {
        if self.used == 0 {
            return;
        }
        let mut record = [0; RECORD_BYTES_MAX];
        let length = self.copy(0, &mut record);
        let bytes = record.get(..length).unwrap_or(&[]);
        self.base = chain(self.sha256, &self.base, self.oldest, bytes);
        self.start = self.place(length + 1);
        self.used = self.used.saturating_sub(length + 1);
        self.oldest = self.oldest.wrapping_add(1);
    }

    /// The host has the records before `sequence` on disk: forget them.
    pub fn acknowledge(&mut self, sequence: u32) {
        let count = sequence.wrapping_sub(self.oldest);
        if count <= self.next.wrapping_sub(self.oldest) {
            for _ in 0..count {
                self.drop_oldest();
            }
        }
    }

    /// Write the numbers of the oldest record and of the next one to come, the lost ones, and both ends of the chain.
    pub fn describe(&self, reply: &mut Reply) {
        reply.u32(self.oldest);
        reply.u32(self.next);
        reply.u32(self.lost);
        reply.put(&self.base);
        reply.put(&self.head);
    }

    /// Write the number of the first record from `sequence` on that is here, and as many records as fit.
    pub fn read(&self, sequence: u32, reply: &mut Reply) {
        let held = self.next.wrapping_sub(self.oldest);
        let skip = sequence.wrapping_sub(self.oldest);
        let skip = if skip <= held { skip } else { 0 };
        reply.u32(self.oldest.wrapping_add(skip));
        let mut record = [0; RECORD_BYTES_MAX];
        let mut offset = 0;
        for index in 0..held {
            let length = self.copy(offset, &mut record);
            offset += length + 1;
            if index < skip {
                continue;
            }
            if reply.room() <= length {
                return;
            }
            reply.text(record.get(..length).unwrap_or(&[]), RECORD_BYTES_MAX as u8);
        }
    }
}

/// The chain after a record: SHA-256 of the chain before it, its number and its bytes.
fn chain(sha256: Sha256, before: &[u8; HASH_BYTES], sequence: u32, record: &[u8]) -> [u8; HASH_BYTES] {
    let mut bytes = [0; HASH_BYTES + SEQUENCE_BYTES + RECORD_BYTES_MAX];
    let number = sequence.to_le_bytes();
    let content = before.iter().chain(&number).chain(record);
    for (place, &byte) in bytes.iter_mut().zip(content) {
        *place = byte;
    }
    let length = HASH_BYTES + SEQUENCE_BYTES + record.len();
    sha256(bytes.get(..length).unwrap_or(&[]))
}
