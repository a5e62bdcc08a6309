//! Why a program is refused.

/// The kind of fault. The numbers are stable: they go over the serial link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// The bytes end before what they promise.
    Truncated = 1,
    /// The magic is missing: this is no program.
    Magic = 2,
    /// Another format version or ABI.
    Version = 3,
    /// A byte that must name a member of an enumeration does not.
    Unknown = 4,
    /// Padding, or an operand that does not exist, is not zero.
    Padding = 5,
    /// Bytes are left over.
    LeftOver = 6,
    /// The number or the order of sections or signatures is wrong.
    Order = 7,
    /// More entries, slots, bytes or depth than the format or this board takes.
    TooMany = 8,
    /// A text is not UTF-8 or too long.
    Text = 9,
    /// A name is empty, stands twice, or is no name of a rule.
    Name = 10,
    /// A type is malformed.
    Type = 11,
    /// A value is out of its range or not in its one form.
    Value = 12,
    /// Slots, arrays, timers or state variables do not fit together.
    Layout = 13,
    /// A parameter's default breaks its bounds, or bounds stand where none can.
    Bounds = 14,
    /// A site is contradictory.
    Site = 15,
    /// A trigger is contradictory, or handlers and inputs do not fill their space.
    Trigger = 16,
    /// The source map goes back or outside of the code.
    SourceMap = 17,
    /// An operand names what does not exist or what this handler may not touch.
    Operand = 18,
    /// The operand stack does not hold what an instruction needs, or grows too deep.
    Stack = 19,
    /// Blocks, loops or RETURN are not well formed.
    Control = 20,
    /// The declared limits are not those that are proven.
    Limits = 21,
    /// There is no signature.
    Unsigned = 22,
    /// A signature is not valid: the program was changed.
    BadSignature = 23,
    /// No signature is of a trusted key.
    ForeignSignature = 24,
}

/// A refused program: why, and at which byte (decoding) or instruction (verifying).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault.
    pub why: Why,
    /// Byte of the file, or index of the instruction when the verifier refuses.
    pub at: u32,
}

impl Refusal {
    pub(crate) const fn new(why: Why, at: usize) -> Self {
        Self { why, at: at as u32 }
    }
}

/// Nothing, or what is wrong.
pub(crate) type Fault = Result<(), Why>;

/// Go on when `right`.
#[inline(always)]
pub(crate) const fn need(right: bool, why: Why) -> Fault {
    if right { Ok(()) } else { Err(why) }
}

/// What decoding and verifying give.
pub(crate) type Checked<T> = Result<T, Refusal>;
