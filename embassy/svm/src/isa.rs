//! The instruction set as data. Generated from `isa.toml` by `tools/gen_isa.py`: do not edit.

/// Version of the instruction set; a program of another one is refused.
pub const ABI: u8 = 2;

/// What an operand of an instruction means; `None` must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    None,
    Bool,
    Depth,
    Decimals,
    Count,
    Slot,
    Array,
    Const,
    I16,
    Target,
    Bound,
    Site,
    Timer,
    Bytes,
}

/// What is added to the fuel of an instruction: its operand b, the capacity of its window, the cost of its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostPlus {
    None,
    Operand,
    Capacity,
    Site,
}

/// One instruction. `pops` is written bottom to top in the letters B, I, F, T and X (any one type);
/// in brackets it depends on a table of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpInfo {
    pub a: Operand,
    pub b: Operand,
    pub pops: &'static str,
    pub pushes: &'static str,
    pub cost: u8,
    pub cost_plus: CostPlus,
}

/// One kind of timer. A window has 2 + 2 * capacity slots, the others `slots`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerInfo {
    pub pops: &'static str,
    pub pushes: &'static str,
    pub slots: u8,
    pub window: bool,
}

/// An instruction of the SVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Push slot b. X is the slot's type.
    Load = 1,
    /// Pop into slot b, a state or local slot. A text longer than the slot's limit is cut at a character boundary.
    Store = 2,
    /// Push constant b. X is the constant's type (I, F or T).
    Const = 3,
    /// Push operand b read as a signed 16-bit integer.
    PushInt = 4,
    /// Push false (a = 0) or true (a = 1).
    PushBool = 5,
    /// Drop the top of the stack.
    Pop = 6,
    /// Push the top of the stack again.
    Dup = 7,
    /// Pop y, x and the condition; push x when the condition is true, else y.
    Select = 8,
    /// Pop a bool; when it is false go forward to instruction b. Opens a block that ends at b (see docs/svm.md, Control).
    Branch = 9,
    /// Go forward to instruction b. Only as the last instruction of a BRANCH block: it opens the block's else arm.
    Jump = 10,
    /// Sum.
    AddI = 11,
    /// Difference: lower minus top.
    SubI = 12,
    /// Product.
    MulI = 13,
    /// Quotient, rounded toward zero.
    DivI = 14,
    /// Remainder of DIV_I: the sign of the lower operand. The remainder by -1 is 0.
    ModI = 15,
    /// The smaller.
    MinI = 16,
    /// The larger.
    MaxI = 17,
    /// Bitwise and, two's complement.
    AndI = 18,
    /// Bitwise or.
    OrI = 19,
    /// Bitwise exclusive or.
    XorI = 20,
    /// Shift left; bits beyond bit 63 are lost, without a trap.
    ShlI = 21,
    /// Arithmetic shift right: the sign is kept.
    ShrI = 22,
    /// Sum.
    AddF = 23,
    /// Difference: lower minus top.
    SubF = 24,
    /// Product.
    MulF = 25,
    /// Quotient; by zero it is an infinity or NaN, as IEEE 754 says.
    DivF = 26,
    /// NaN if either is NaN; else the top when it is less than the lower, else the lower.
    MinF = 27,
    /// NaN if either is NaN; else the top when it is greater than the lower, else the lower.
    MaxF = 28,
    /// Equal.
    EqI = 29,
    /// Lower operand less than top.
    LtI = 30,
    /// Lower operand less than or equal to top.
    LeI = 31,
    /// Lower operand greater than top.
    GtI = 32,
    /// Lower operand greater than or equal to top.
    GeI = 33,
    /// Equal: false when either is NaN; -0.0 equals 0.0.
    EqF = 34,
    /// Lower operand less than top; false when either is NaN.
    LtF = 35,
    /// Lower operand less than or equal to top; false when either is NaN.
    LeF = 36,
    /// Lower operand greater than top; false when either is NaN.
    GtF = 37,
    /// Lower operand greater than or equal to top; false when either is NaN.
    GeF = 38,
    /// Equal.
    EqB = 39,
    /// Logical and of two values already computed.
    And = 40,
    /// Logical or of two values already computed.
    Or = 41,
    /// Negation.
    NegI = 42,
    /// Absolute value.
    AbsI = 43,
    /// Negation: flips the sign bit.
    NegF = 44,
    /// Absolute value: clears the sign bit.
    AbsF = 45,
    /// Toward minus infinity, to an integral float.
    FloorF = 46,
    /// Toward plus infinity, to an integral float.
    CeilF = 47,
    /// To the nearest integral float, ties away from zero.
    RoundF = 48,
    /// Square root, correctly rounded; NaN below zero.
    SqrtF = 49,
    /// Logical not.
    Not = 50,
    /// To the nearest float, ties to even.
    IToF = 51,
    /// Toward zero.
    FToI = 52,
    /// Pop an index, push that element of array b. The index is checked against the array's length slot and capacity.
    LoadAt = 53,
    /// Pop an index, then a value; store the value at that element of array b, a state or local array.
    StoreAt = 54,
    /// Push the length of array b, then add 1 to its length slot: the pushed index is the place of a new element.
    Grow = 55,
    /// Pop the trip count n, 1 <= n <= b, and run the instructions up to the matching END_LOOP n times.
    Loop = 56,
    /// Close the innermost LOOP, whose first instruction is b; go back to b unless this was the last trip.
    EndLoop = 57,
    /// Push the trip number, from 0, of the loop a levels out (0 is the innermost).
    LoopIndex = 58,
    /// End the execution with outcome ok. The last instruction of every handler, and nowhere else. The stack is empty.
    Return = 59,
    /// Push the event's time, microseconds since 1970-01-01T00:00Z.
    Now = 60,
    /// Push the event's time plus the host's offset from UTC at that time, in microseconds.
    LocalNow = 61,
    /// Evaluate time word b: pops and pushes what its kind says in the table of timers.
    Eval = 62,
    /// Put timer b back to its initial state: emitted where a branch leaves a `for` or an edge unevaluated.
    Reset = 63,
    /// Pop the arguments of capability site b (and below them its fallback value, if that is its answer to failure), read, push the result.
    LoadResource = 64,
    /// Pop the arguments of capability site b and add the action to those this execution asks for. It acts after the commit.
    CallAction = 65,
    /// As LOAD_RESOURCE, for a language model: may suspend the execution until the answer, the timeout or the fallback.
    LlmCall = 66,
    /// Pop the fields of emit site b and add the event to those this execution emits.
    EmitEvent = 67,
    /// The same bytes.
    EqT = 68,
    /// Lower text then top text, cut at a character boundary to b bytes.
    Concat = 69,
    /// Decimal digits of an int; at most 20 bytes.
    TextI = 70,
    /// A float with a decimals (0 to 6; 255: up to 6, trailing zeros dropped, one kept); at most 27 bytes. docs/svm.md says how it rounds.
    TextF = 71,
    /// `true` or `false`.
    TextB = 72,
    /// Push text constant b + n for ordinal n, 0 <= n < a.
    TextEnum = 73,
    /// The lower text contains the top text (always true of the empty text).
    Contains = 74,
    /// The lower text starts with the top text.
    StartsWith = 75,
    /// Number of Unicode scalar values.
    LenT = 76,
    /// A duration in its largest exact unit: `90s`, `1500ms`, `2h`; at most 22 bytes.
    TextD = 77,
}

impl Op {
    /// The member with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Load),
            2 => Some(Self::Store),
            3 => Some(Self::Const),
            4 => Some(Self::PushInt),
            5 => Some(Self::PushBool),
            6 => Some(Self::Pop),
            7 => Some(Self::Dup),
            8 => Some(Self::Select),
            9 => Some(Self::Branch),
            10 => Some(Self::Jump),
            11 => Some(Self::AddI),
            12 => Some(Self::SubI),
            13 => Some(Self::MulI),
            14 => Some(Self::DivI),
            15 => Some(Self::ModI),
            16 => Some(Self::MinI),
            17 => Some(Self::MaxI),
            18 => Some(Self::AndI),
            19 => Some(Self::OrI),
            20 => Some(Self::XorI),
            21 => Some(Self::ShlI),
            22 => Some(Self::ShrI),
            23 => Some(Self::AddF),
            24 => Some(Self::SubF),
            25 => Some(Self::MulF),
            26 => Some(Self::DivF),
            27 => Some(Self::MinF),
            28 => Some(Self::MaxF),
            29 => Some(Self::EqI),
            30 => Some(Self::LtI),
            31 => Some(Self::LeI),
            32 => Some(Self::GtI),
            33 => Some(Self::GeI),
            34 => Some(Self::EqF),
            35 => Some(Self::LtF),
            36 => Some(Self::LeF),
            37 => Some(Self::GtF),
            38 => Some(Self::GeF),
            39 => Some(Self::EqB),
            40 => Some(Self::And),
            41 => Some(Self::Or),
            42 => Some(Self::NegI),
            43 => Some(Self::AbsI),
            44 => Some(Self::NegF),
            45 => Some(Self::AbsF),
            46 => Some(Self::FloorF),
            47 => Some(Self::CeilF),
            48 => Some(Self::RoundF),
            49 => Some(Self::SqrtF),
            50 => Some(Self::Not),
            51 => Some(Self::IToF),
            52 => Some(Self::FToI),
            53 => Some(Self::LoadAt),
            54 => Some(Self::StoreAt),
            55 => Some(Self::Grow),
            56 => Some(Self::Loop),
            57 => Some(Self::EndLoop),
            58 => Some(Self::LoopIndex),
            59 => Some(Self::Return),
            60 => Some(Self::Now),
            61 => Some(Self::LocalNow),
            62 => Some(Self::Eval),
            63 => Some(Self::Reset),
            64 => Some(Self::LoadResource),
            65 => Some(Self::CallAction),
            66 => Some(Self::LlmCall),
            67 => Some(Self::EmitEvent),
            68 => Some(Self::EqT),
            69 => Some(Self::Concat),
            70 => Some(Self::TextI),
            71 => Some(Self::TextF),
            72 => Some(Self::TextB),
            73 => Some(Self::TextEnum),
            74 => Some(Self::Contains),
            75 => Some(Self::StartsWith),
            76 => Some(Self::LenT),
            77 => Some(Self::TextD),
            _ => None,
        }
    }
}

/// The opcodes as bytes: what the verifier and the machine match on.
pub mod code {
    pub const LOAD: u8 = 1;
    pub const STORE: u8 = 2;
    pub const CONST: u8 = 3;
    pub const PUSH_INT: u8 = 4;
    pub const PUSH_BOOL: u8 = 5;
    pub const POP: u8 = 6;
    pub const DUP: u8 = 7;
    pub const SELECT: u8 = 8;
    pub const BRANCH: u8 = 9;
    pub const JUMP: u8 = 10;
    pub const ADD_I: u8 = 11;
    pub const SUB_I: u8 = 12;
    pub const MUL_I: u8 = 13;
    pub const DIV_I: u8 = 14;
    pub const MOD_I: u8 = 15;
    pub const MIN_I: u8 = 16;
    pub const MAX_I: u8 = 17;
    pub const AND_I: u8 = 18;
    pub const OR_I: u8 = 19;
    pub const XOR_I: u8 = 20;
    pub const SHL_I: u8 = 21;
    pub const SHR_I: u8 = 22;
    pub const ADD_F: u8 = 23;
    pub const SUB_F: u8 = 24;
    pub const MUL_F: u8 = 25;
    pub const DIV_F: u8 = 26;
    pub const MIN_F: u8 = 27;
    pub const MAX_F: u8 = 28;
    pub const EQ_I: u8 = 29;
    pub const LT_I: u8 = 30;
    pub const LE_I: u8 = 31;
    pub const GT_I: u8 = 32;
    pub const GE_I: u8 = 33;
    pub const EQ_F: u8 = 34;
    pub const LT_F: u8 = 35;
    pub const LE_F: u8 = 36;
    pub const GT_F: u8 = 37;
    pub const GE_F: u8 = 38;
    pub const EQ_B: u8 = 39;
    pub const AND: u8 = 40;
    pub const OR: u8 = 41;
    pub const NEG_I: u8 = 42;
    pub const ABS_I: u8 = 43;
    pub const NEG_F: u8 = 44;
    pub const ABS_F: u8 = 45;
    pub const FLOOR_F: u8 = 46;
    pub const CEIL_F: u8 = 47;
    pub const ROUND_F: u8 = 48;
    pub const SQRT_F: u8 = 49;
    pub const NOT: u8 = 50;
    pub const I_TO_F: u8 = 51;
    pub const F_TO_I: u8 = 52;
    pub const LOAD_AT: u8 = 53;
    pub const STORE_AT: u8 = 54;
    pub const GROW: u8 = 55;
    pub const LOOP: u8 = 56;
    pub const END_LOOP: u8 = 57;
    pub const LOOP_INDEX: u8 = 58;
    pub const RETURN: u8 = 59;
    pub const NOW: u8 = 60;
    pub const LOCAL_NOW: u8 = 61;
    pub const EVAL: u8 = 62;
    pub const RESET: u8 = 63;
    pub const LOAD_RESOURCE: u8 = 64;
    pub const CALL_ACTION: u8 = 65;
    pub const LLM_CALL: u8 = 66;
    pub const EMIT_EVENT: u8 = 67;
    pub const EQ_T: u8 = 68;
    pub const CONCAT: u8 = 69;
    pub const TEXT_I: u8 = 70;
    pub const TEXT_F: u8 = 71;
    pub const TEXT_B: u8 = 72;
    pub const TEXT_ENUM: u8 = 73;
    pub const CONTAINS: u8 = 74;
    pub const STARTS_WITH: u8 = 75;
    pub const LEN_T: u8 = 76;
    pub const TEXT_D: u8 = 77;
}

/// Why an execution was trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Trap {
    /// An int or duration result does not fit a signed 64-bit integer.
    IntOverflow = 1,
    /// An int or duration was divided by zero. Float division never traps: it follows IEEE 754.
    DivByZero = 2,
    /// A float that is NaN, infinite or outside the int range was converted to int.
    ConvertRange = 3,
    /// A list was indexed below 0 or at or beyond its length.
    IndexRange = 4,
    /// A value was appended to a list that already holds its maximum.
    ListFull = 5,
    /// A shift count is below 0 or above 63.
    ShiftRange = 6,
    /// A loop's trip count is below 1 or above the bound proven for it.
    LoopBound = 7,
    /// A capability failed, its retries are used up, and its declared answer is abort.
    CapabilityFailed = 8,
    /// A number that is no member of the enum was turned into its name.
    EnumRange = 9,
    /// The execution used more fuel than was proven: a bug of the virtual machine, never of a rule.
    FuelExhausted = 10,
}

impl Trap {
    /// The member with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::IntOverflow),
            2 => Some(Self::DivByZero),
            3 => Some(Self::ConvertRange),
            4 => Some(Self::IndexRange),
            5 => Some(Self::ListFull),
            6 => Some(Self::ShiftRange),
            7 => Some(Self::LoopBound),
            8 => Some(Self::CapabilityFailed),
            9 => Some(Self::EnumRange),
            10 => Some(Self::FuelExhausted),
            _ => None,
        }
    }
}

/// The kind of memory behind a time word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TimerKind {
    /// Pop a span, then a condition. Slot 0 (I, initially -2^63: not held): the time since when the condition has held. True when it has held for at least the span.
    Hold = 1,
    /// Pop a span, then a condition. Slot 0 (I, initially -2^63: never): when it last passed. True, and remembered, when the condition is true and the span has gone by since, or it never passed.
    Cooldown = 2,
    /// Slot 0 (B, initially false): the last condition. True when the condition is true and the last one was false (R_TRIG of IEC 61131-3).
    Rises = 3,
    /// Slot 0 (B, initially false): the last condition. True when the condition is false and the last one was true (F_TRIG of IEC 61131-3 with memory initially false).
    Falls = 4,
    /// Arithmetic mean: the sum, oldest to newest, divided by the count. NaN of no sample.
    Mean = 5,
    /// Smallest sample. NaN of no sample.
    Min = 6,
    /// Largest sample. NaN of no sample.
    Max = 7,
    /// Sum, oldest to newest, from 0.0.
    Sum = 8,
    /// (newest - oldest sample) / seconds between them; 0.0 of fewer than two samples or of no time between them.
    Rate = 9,
    /// How many samples of the window were true. Only true conditions are stored.
    Count = 10,
}

impl TimerKind {
    /// The member with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Hold),
            2 => Some(Self::Cooldown),
            3 => Some(Self::Rises),
            4 => Some(Self::Falls),
            5 => Some(Self::Mean),
            6 => Some(Self::Min),
            7 => Some(Self::Max),
            8 => Some(Self::Sum),
            9 => Some(Self::Rate),
            10 => Some(Self::Count),
            _ => None,
        }
    }
}

impl Op {
    /// What this instruction means.
    pub const fn info(self) -> OpInfo {
        match self {
            Self::Load => OpInfo {
                a: Operand::None,
                b: Operand::Slot,
                pops: "",
                pushes: "[X]",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Store => OpInfo {
                a: Operand::None,
                b: Operand::Slot,
                pops: "[X]",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Const => OpInfo {
                a: Operand::None,
                b: Operand::Const,
                pops: "",
                pushes: "[X]",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::PushInt => OpInfo {
                a: Operand::None,
                b: Operand::I16,
                pops: "",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::PushBool => OpInfo {
                a: Operand::Bool,
                b: Operand::None,
                pops: "",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Pop => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "X",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Dup => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "X",
                pushes: "XX",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Select => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "BXX",
                pushes: "X",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Branch => OpInfo {
                a: Operand::None,
                b: Operand::Target,
                pops: "B",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Jump => OpInfo {
                a: Operand::None,
                b: Operand::Target,
                pops: "",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::AddI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::SubI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::MulI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::DivI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::ModI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::MinI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::MaxI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::AndI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::OrI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::XorI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::ShlI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::ShrI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::AddF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::SubF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::MulF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::DivF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "F",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::MinF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::MaxF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::EqI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LtI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LeI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::GtI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::GeI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "II",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::EqF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LtF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LeF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::GtF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::GeF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "FF",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::EqB => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "BB",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::And => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "BB",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Or => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "BB",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::NegI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "I",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::AbsI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "I",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::NegF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::AbsF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::FloorF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::CeilF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::RoundF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::SqrtF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "F",
                cost: 4,
                cost_plus: CostPlus::None,
            },
            Self::Not => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "B",
                pushes: "B",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::IToF => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "I",
                pushes: "F",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::FToI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "F",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LoadAt => OpInfo {
                a: Operand::None,
                b: Operand::Array,
                pops: "I",
                pushes: "[X]",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::StoreAt => OpInfo {
                a: Operand::None,
                b: Operand::Array,
                pops: "[XI]",
                pushes: "",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::Grow => OpInfo {
                a: Operand::None,
                b: Operand::Array,
                pops: "",
                pushes: "I",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::Loop => OpInfo {
                a: Operand::None,
                b: Operand::Bound,
                pops: "I",
                pushes: "",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::EndLoop => OpInfo {
                a: Operand::None,
                b: Operand::Target,
                pops: "",
                pushes: "",
                cost: 2,
                cost_plus: CostPlus::None,
            },
            Self::LoopIndex => OpInfo {
                a: Operand::Depth,
                b: Operand::None,
                pops: "",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Return => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Now => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LocalNow => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "",
                pushes: "I",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Eval => OpInfo {
                a: Operand::None,
                b: Operand::Timer,
                pops: "[timer]",
                pushes: "[timer]",
                cost: 3,
                cost_plus: CostPlus::Capacity,
            },
            Self::Reset => OpInfo {
                a: Operand::None,
                b: Operand::Timer,
                pops: "",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::LoadResource => OpInfo {
                a: Operand::None,
                b: Operand::Site,
                pops: "[args]",
                pushes: "[X]",
                cost: 1,
                cost_plus: CostPlus::Site,
            },
            Self::CallAction => OpInfo {
                a: Operand::None,
                b: Operand::Site,
                pops: "[args]",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::Site,
            },
            Self::LlmCall => OpInfo {
                a: Operand::None,
                b: Operand::Site,
                pops: "[args]",
                pushes: "[X]",
                cost: 1,
                cost_plus: CostPlus::Site,
            },
            Self::EmitEvent => OpInfo {
                a: Operand::None,
                b: Operand::Site,
                pops: "[args]",
                pushes: "",
                cost: 1,
                cost_plus: CostPlus::Site,
            },
            Self::EqT => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "TT",
                pushes: "B",
                cost: 8,
                cost_plus: CostPlus::None,
            },
            Self::Concat => OpInfo {
                a: Operand::None,
                b: Operand::Bytes,
                pops: "TT",
                pushes: "T",
                cost: 2,
                cost_plus: CostPlus::Operand,
            },
            Self::TextI => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "I",
                pushes: "T",
                cost: 20,
                cost_plus: CostPlus::None,
            },
            Self::TextF => OpInfo {
                a: Operand::Decimals,
                b: Operand::None,
                pops: "F",
                pushes: "T",
                cost: 24,
                cost_plus: CostPlus::None,
            },
            Self::TextB => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "B",
                pushes: "T",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::TextEnum => OpInfo {
                a: Operand::Count,
                b: Operand::Const,
                pops: "I",
                pushes: "T",
                cost: 1,
                cost_plus: CostPlus::None,
            },
            Self::Contains => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "TT",
                pushes: "B",
                cost: 64,
                cost_plus: CostPlus::None,
            },
            Self::StartsWith => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "TT",
                pushes: "B",
                cost: 8,
                cost_plus: CostPlus::None,
            },
            Self::LenT => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "T",
                pushes: "I",
                cost: 8,
                cost_plus: CostPlus::None,
            },
            Self::TextD => OpInfo {
                a: Operand::None,
                b: Operand::None,
                pops: "I",
                pushes: "T",
                cost: 24,
                cost_plus: CostPlus::None,
            },
        }
    }
}

impl TimerKind {
    /// What this kind of timer means.
    pub const fn info(self) -> TimerInfo {
        match self {
            Self::Hold => TimerInfo {
                pops: "BI",
                pushes: "B",
                slots: 1,
                window: false,
            },
            Self::Cooldown => TimerInfo {
                pops: "BI",
                pushes: "B",
                slots: 1,
                window: false,
            },
            Self::Rises => TimerInfo {
                pops: "B",
                pushes: "B",
                slots: 1,
                window: false,
            },
            Self::Falls => TimerInfo {
                pops: "B",
                pushes: "B",
                slots: 1,
                window: false,
            },
            Self::Mean => TimerInfo {
                pops: "FI",
                pushes: "F",
                slots: 0,
                window: true,
            },
            Self::Min => TimerInfo {
                pops: "FI",
                pushes: "F",
                slots: 0,
                window: true,
            },
            Self::Max => TimerInfo {
                pops: "FI",
                pushes: "F",
                slots: 0,
                window: true,
            },
            Self::Sum => TimerInfo {
                pops: "FI",
                pushes: "F",
                slots: 0,
                window: true,
            },
            Self::Rate => TimerInfo {
                pops: "FI",
                pushes: "F",
                slots: 0,
                window: true,
            },
            Self::Count => TimerInfo {
                pops: "BI",
                pushes: "I",
                slots: 0,
                window: true,
            },
        }
    }
}
