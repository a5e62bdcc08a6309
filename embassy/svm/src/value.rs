//! Values: typed at the border of the SVM, plain 64-bit words inside it.

/// Type of a slot, a constant or an operand-stack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    /// A truth value.
    Bool = 0,
    /// A signed 64-bit integer: int, duration in microseconds, ordinal of an enum, index of a pin.
    Int = 1,
    /// IEEE 754 binary64.
    Float = 2,
    /// UTF-8.
    Text = 3,
}

impl ValueType {
    /// The type of a code below 4.
    pub(crate) const fn of(code: u8) -> Self {
        match code & 3 {
            0 => Self::Bool,
            1 => Self::Int,
            2 => Self::Float,
            _ => Self::Text,
        }
    }
}

/// One scalar as hosts see it. A text is valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'t> {
    /// A truth value.
    Bool(bool),
    /// An int, duration (us), enum ordinal or pin index.
    Int(i64),
    /// A float; a NaN that leaves the SVM has the bits of the one NaN.
    Float(f64),
    /// The bytes of a text, valid UTF-8.
    Text(&'t [u8]),
}

impl Value<'_> {
    /// The type of this value.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Text(_) => ValueType::Text,
        }
    }
}

/// The bits of the one NaN that leaves the SVM.
pub(crate) const NAN_BITS: u64 = 0x7FF8_0000_0000_0000;

/// Whether the float in this word is a NaN.
pub(crate) const fn is_nan(word: u64) -> bool {
    word << 1 > 0xFFE0_0000_0000_0000
}

/// The word of a float as it leaves the SVM: every NaN is the one NaN.
pub(crate) const fn canonical(word: u64) -> u64 {
    if is_nan(word) { NAN_BITS } else { word }
}

/// Where the bytes of a text lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// In the bytes of the program.
    Program,
    /// In the scratch of this execution.
    Scratch,
    /// In the text memory of the instance.
    Own,
    /// In the words of the SVM itself: what TEXT_B writes.
    Truth,
}

/// The words of TEXT_B.
const TRUTH: &[u8] = b"truefalse";

/// `true` or `false`, as a word.
pub(crate) const fn text_of_bool(value: bool) -> u64 {
    let (offset, size) = if value { (0, 4) } else { (4, 5) };
    Handle::new(Space::Truth, offset, size).word()
}

/// A text as a word: 32 bits offset, 16 bits length, the space above. All zero is the empty text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle {
    pub space: Space,
    pub offset: u32,
    pub size: u16,
}

impl Handle {
    pub const fn new(space: Space, offset: usize, size: usize) -> Self {
        Self { space, offset: offset as u32, size: size as u16 }
    }

    pub const fn word(self) -> u64 {
        let high = (self.space as u32) << 16 | self.size as u32;
        (high as u64) << 32 | self.offset as u64
    }

    pub const fn from_word(word: u64) -> Self {
        let high = (word >> 32) as u32;
        let space = match high >> 16 {
            0 => Space::Program,
            1 => Space::Scratch,
            2 => Space::Own,
            _ => Space::Truth,
        };
        Self { space, offset: word as u32, size: high as u16 }
    }
}

/// The three places where texts lie.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'t> {
    pub program: &'t [u8],
    pub own: &'t [u8],
    pub scratch: &'t [u8],
}

impl<'t> Texts<'t> {
    /// The bytes of a text.
    pub fn get(&self, handle: Handle) -> &'t [u8] {
        let space = match handle.space {
            Space::Scratch => self.scratch,
            Space::Program => self.program,
            Space::Own => self.own,
            Space::Truth => TRUTH,
        };
        let start = handle.offset as usize;
        space.get(start..start.wrapping_add(usize::from(handle.size))).unwrap_or(&[])
    }

    /// A word as a value of its type, as it leaves the SVM.
    pub fn value(&self, value_type: ValueType, word: u64) -> Value<'t> {
        match value_type {
            ValueType::Bool => Value::Bool(word != 0),
            ValueType::Int => Value::Int(word as i64),
            ValueType::Float => Value::Float(f64::from_bits(word)),
            ValueType::Text => Value::Text(self.get(Handle::from_word(word))),
        }
    }
}
