//! CRC-32 as in Ethernet and zlib (ISO-HDLC), shared by the slots and the link.

/// One entry for each value of four bits: 64 bytes of flash instead of 1 KB for a table of bytes.
const TABLE: [u32; 16] = table();

const fn table() -> [u32; 16] {
    let mut entries = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        entries[index] = value;
        index += 1;
    }
    entries
}

/// A CRC-32 that is fed piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc(u32);

impl Crc {
    /// The CRC of nothing.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Add bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let value = self.0 ^ u32::from(byte);
            let value = (value >> 4) ^ TABLE[(value & 15) as usize];
            self.0 = (value >> 4) ^ TABLE[(value & 15) as usize];
        }
    }

    /// The CRC of everything fed so far.
    pub const fn value(&self) -> u32 {
        !self.0
    }
}

impl Default for Crc {
    fn default() -> Self {
        Self::new()
    }
}

/// The CRC-32 of some bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let mut crc = Crc::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xCBF4_3926);
    }
}
