//! A case and its result as bytes, little-endian; tests/emulated/cases.py writes the one and reads the other.
//!
//! A value is a letter as in tests/conformance/README.md and its bytes: one for a bool, eight for an int or a float, a
//! length of two and as many for a text. The letter `x` alone is an answer that fails.

use eyeflow_svm::Value;

/// Reads a case.
pub struct Reader<'c> {
    rest: &'c [u8],
}

impl<'c> Reader<'c> {
    pub fn new(rest: &'c [u8]) -> Self {
        Self { rest }
    }

    pub fn take(&mut self, size: usize) -> &'c [u8] {
        let (taken, rest) = self.rest.split_at(size);
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or_else(|_| panic!())
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    /// A value, or none for an answer that fails.
    pub fn value(&mut self) -> Option<Value<'c>> {
        match self.array() {
            [b'b'] => Some(Value::Bool(self.array() != [0])),
            [b'i'] => Some(Value::Int(self.i64())),
            [b'f'] => Some(Value::Float(f64::from_le_bytes(self.array()))),
            [b't'] => {
                let size = usize::from(self.u16());
                Some(Value::Text(self.take(size)))
            }
            [b'x'] => None,
            _ => panic!(),
        }
    }
}

/// Writes a result.
pub struct Writer<'r> {
    place: &'r mut [u8],
    length: usize,
}

impl<'r> Writer<'r> {
    pub fn new(place: &'r mut [u8]) -> Self {
        Self { place, length: 0 }
    }

    pub fn length(&self) -> usize {
        self.length
    }

    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.place[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    pub fn u16(&mut self, number: u16) {
        self.put(&number.to_le_bytes());
    }

    pub fn u32(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }

    pub fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Bool(value) => self.put(&[b'b', u8::from(value)]),
            Value::Int(value) => {
                self.put(b"i");
                self.put(&value.to_le_bytes());
            }
            Value::Float(value) => {
                self.put(b"f");
                self.put(&value.to_bits().to_le_bytes());
            }
            Value::Text(value) => {
                self.put(b"t");
                self.u16(value.len() as u16);
                self.put(value);
            }
        }
    }
}
