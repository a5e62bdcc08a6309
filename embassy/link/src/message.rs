//! What is said over the link: numbers of requests and results, and what the firmware has to provide.
//! docs/serial-link.md, Messages.

use crate::bytes::Reply;
use crate::records::Records;
use eyeflow_slots::{Flash, ID_BYTES, Store};

/// Version of this protocol.
pub const PROTOCOL: u8 = 1;

/// What the host asks for. An answer has the same number with bit 7 set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Request {
    /// Who are you?
    Hello = 0x01,
    /// Send these bytes back.
    Ping = 0x02,
    /// It is this time now.
    Time = 0x03,
    /// What is in this place?
    Info = 0x04,
    /// What did the program in this place do?
    Counters = 0x05,
    /// How are you?
    Health = 0x06,
    /// A program will come.
    PushBegin = 0x10,
    /// Bytes of it.
    PushData = 0x11,
    /// That was all: check it and run it.
    PushEnd = 0x12,
    /// Remove a rule.
    Remove = 0x13,
    /// Set a parameter of a rule.
    SetParam = 0x14,
    /// A program will come that shall wait in the second slot of its place.
    StageBegin = 0x15,
    /// Run these staged programs.
    Switch = 0x16,
    /// Run these programs again: each is the one before the running one.
    Back = 0x17,
    /// Give up this staged program.
    Drop = 0x18,
    /// These running programs are known to be good.
    Good = 0x19,
    /// Which records are there?
    RecordsInfo = 0x20,
    /// Send records.
    RecordsRead = 0x21,
    /// These records are safe: forget them.
    RecordsAck = 0x22,
    /// The answer to an LLM request.
    LlmAnswer = 0x30,
}

impl Request {
    /// The request with this number.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Request::Hello,
            0x02 => Request::Ping,
            0x03 => Request::Time,
            0x04 => Request::Info,
            0x05 => Request::Counters,
            0x06 => Request::Health,
            0x10 => Request::PushBegin,
            0x11 => Request::PushData,
            0x12 => Request::PushEnd,
            0x13 => Request::Remove,
            0x14 => Request::SetParam,
            0x15 => Request::StageBegin,
            0x16 => Request::Switch,
            0x17 => Request::Back,
            0x18 => Request::Drop,
            0x19 => Request::Good,
            0x20 => Request::RecordsInfo,
            0x21 => Request::RecordsRead,
            0x22 => Request::RecordsAck,
            0x30 => Request::LlmAnswer,
            _ => return None,
        })
    }
}

/// What the board says without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unasked {
    /// A line of its log: level, text.
    Log = 0xC0,
    /// A question for the host's language model: number, place, site, text.
    LlmRequest = 0xC1,
    /// Values for whoever listens: firmware's own bytes.
    Telemetry = 0xC2,
    /// An event that a rule emitted: number, place, site, and its fields in pieces.
    Event = 0xC3,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Only for those who look for a fault.
    Debug = 0,
    /// Normal life.
    Info = 1,
    /// Something that should not be.
    Warning = 2,
    /// Something failed.
    Error = 3,
}

/// The first byte of every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// The board has this program already.
    Already = 1,
    /// Ask again: the flash is being cleaned up.
    Wait = 2,
    /// The program is longer than the board takes.
    TooBig = 0x10,
    /// There is no room, also after cleaning up.
    NoRoom = 0x11,
    /// There is no signature.
    Unsigned = 0x12,
    /// No signature is of a key that the board trusts.
    ForeignSigned = 0x13,
    /// A signature is wrong.
    BadSignature = 0x14,
    /// The board once took a newer program of this rule.
    Older = 0x15,
    /// Four other rules run.
    FifthProgram = 0x16,
    /// For another instruction set.
    WrongAbi = 0x17,
    /// For another chip.
    WrongChip = 0x18,
    /// Compressed with a dictionary that the board does not have.
    OtherDictionary = 0x19,
    /// The bytes are not those of the announced id.
    BadHash = 0x1A,
    /// The bytes cannot be decompressed.
    BadEncoding = 0x1B,
    /// The verifier refuses the program: reason and place follow.
    Unverified = 0x1C,
    /// The program is not the one that was announced: other rule or sequence.
    OtherProgram = 0x1D,
    /// The program needs a capability, a pin or a resource that this board does not have.
    Incapable = 0x1E,
    /// The flash failed.
    Storage = 0x1F,
    /// No program is being received.
    NoTransfer = 0x20,
    /// The bytes are not the next ones: where to go on follows.
    Offset = 0x21,
    /// No such rule, program or parameter on this board.
    Unknown = 0x22,
    /// The request is malformed.
    Malformed = 0x23,
    /// The board does not know this request.
    NotSupported = 0x24,
    /// The value does not fit the parameter.
    BadValue = 0x25,
}

/// A refusal: the code, the verifier's reason and the byte or instruction it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code for the host.
    pub code: Code,
    /// The number of the verifier's reason, 0 without one.
    pub why: u8,
    /// The byte or instruction, 0 without one.
    pub at: u32,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, why: 0, at: 0 }
    }
}

/// Who the board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The exact name of the chip.
    pub chip: &'a [u8],
    /// The version of the firmware.
    pub firmware: &'a [u8],
    /// The version of the instruction set.
    pub abi: u8,
    /// Bit 0: programs are authenticated by a keyed MAC instead of Ed25519. Bit 1: the board delegates LLM calls.
    pub flags: u8,
    /// The chip's own number.
    pub device: [u8; 8],
    /// The first bytes of the SHA-256 of the public key that the board trusts.
    pub key: [u8; 8],
    /// A number that differs at each boot.
    pub boot: u32,
}

/// What a checked program says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The SHA-256 of its signed bytes.
    pub id: [u8; ID_BYTES],
    /// The name of its rule.
    pub rule: &'a [u8],
    /// Its anti-rollback sequence.
    pub sequence: u64,
}

/// What the program in a place did since the board started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Whether it runs (1), or was stopped after repeated faults (0).
    pub running: u8,
    /// The number of the last trap, 0 when there was none.
    pub trap: u8,
    /// The instruction of the last trap.
    pub pc: u16,
    /// Executions.
    pub executions: u32,
    /// Executions that trapped.
    pub traps: u32,
    /// Executions that were skipped.
    pub skips: u32,
    /// Capabilities that failed.
    pub failures: u32,
    /// The most fuel that one execution used.
    pub fuel_max: u32,
}

/// Why a board started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Reset {
    /// The chip does not tell.
    #[default]
    Unknown = 0,
    /// Power came on, or had sunk.
    Power = 1,
    /// The reset pin, or whoever flashed it.
    Pin = 2,
    /// The watchdog: a scan hung.
    Watchdog = 3,
    /// A fault of the processor, or a panic.
    Fault = 4,
    /// Software asked for it, a debug probe for example.
    Software = 5,
}

/// How the board is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Bytes of RAM.
    pub ram_bytes: u32,
    /// Bytes of RAM in use, the deepest stack so far included.
    pub ram_used_bytes: u32,
    /// Scans since the start.
    pub scans: u32,
    /// The longest scan.
    pub scan_us_max: u32,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Why the board started.
    pub reset: Reset,
    /// Bytes of RAM for the stack.
    pub stack_bytes: u32,
    /// The most of them that was ever used since the start.
    pub stack_used_bytes: u32,
}

/// What the firmware provides to the link.
pub trait Board {
    /// The memory of the ring of records, for example `[u8; 512]`.
    type Ring: AsRef<[u8]> + AsMut<[u8]>;

    /// Who the board is.
    fn identity(&self) -> Identity<'_>;

    /// Check a whole program: signature, chip, verifier, capabilities. Called before its commit, with the bytes on flash.
    fn admit<'p>(&mut self, program: &'p [u8]) -> Result<Facts<'p>, Refused>;

    /// A program was committed to this place, or the place was emptied: start or stop it before the next scan.
    fn changed(&mut self, place: u8);

    /// The version that a program on flash gives itself.
    fn version<'p>(&self, program: &'p [u8]) -> &'p [u8];

    /// What the program in this place did.
    fn counters(&self, place: u8) -> Counters;

    /// How the board is.
    fn health(&self) -> Health;

    /// The host's wall clock, in microseconds since 1970, and its offset from UTC.
    fn set_time(&mut self, time_us: u64, utc_offset_s: i32);

    /// Set a parameter by its index, as in the program, and keep it in the store: only then it is answered. `bits` is its
    /// int, duration, float bits, or 0 and 1 for a bool.
    fn set_param<F: Flash, const UNIT: usize>(
        &mut self,
        store: &mut Store<F, UNIT>,
        place: u8,
        index: u8,
        bits: u64,
    ) -> Result<(), Code>;

    /// The answer to LLM request `number`: `status` 0 is an answer, else the model failed.
    fn llm_answer(&mut self, number: u8, status: u8, text: &[u8]);

    /// The records that wait for the host.
    fn records(&mut self) -> &mut Records<Self::Ring>;
}

impl Identity<'_> {
    pub(crate) fn write(&self, reply: &mut Reply) {
        reply.u8(self.abi);
        reply.u8(self.flags);
        reply.put(&self.device);
        reply.put(&self.key);
        reply.u32(self.boot);
        reply.text(self.chip, 20);
        reply.text(self.firmware, 20);
    }
}

impl Counters {
    pub(crate) fn write(&self, reply: &mut Reply) {
        reply.u8(self.running);
        reply.u8(self.trap);
        reply.u16(self.pc);
        for count in [self.executions, self.traps, self.skips, self.failures, self.fuel_max] {
            reply.u32(count);
        }
    }
}
