//! The board's side of the line: bytes in, frames out.

use crate::bytes::{Cursor, Reply};
use crate::dictionary::DICTIONARY_VERSION;
use crate::frame::{Frame, Receiver, WIRE_BYTES_MAX, encode};
use crate::message::{Board, Code, Level, PROTOCOL, Request, Unasked};
use crate::push::{Transfer, has};
use eyeflow_slots::{Flash, ID_BYTES, NAME_BYTES_MAX, PLACES, Slot, Store};

const ANSWER: u8 = 0x80;
const PING_BYTES_MAX: usize = 64;
/// Times lie below 2^62 microseconds.
const TIME_BITS: u32 = 62;
const VERSION_BYTES_MAX: u8 = 12;
/// The bits of the slots beside the running program, in the flags of INFO.
const SLOTS_BESIDE: u8 = 1 << Slot::Previous as u8 | 1 << Slot::Staged as u8;

/// The board's side of one serial line.
#[derive(Clone, Debug)]
pub struct Link {
    receiver: Receiver,
    transfer: Transfer,
}

/// Send one frame.
pub fn send(kind: u8, sequence: u8, payload: &[u8], out: &mut impl FnMut(&[u8])) {
    let mut wire = [0; WIRE_BYTES_MAX];
    let frame = Frame { kind, sequence, payload };
    let length = encode(&frame, &mut wire);
    out(wire.get(..length).unwrap_or(&[]));
}

/// Send a line of the log; what does not fit a frame is cut.
pub fn log(level: Level, text: &[u8], out: &mut impl FnMut(&[u8])) {
    let mut payload = Reply::new();
    payload.u8(level as u8);
    let room = payload.room();
    payload.put(text.get(..room).unwrap_or(text));
    send(Unasked::Log as u8, 0, payload.as_bytes(), out);
}

impl Link {
    /// A link on which nothing happened yet.
    pub const fn new() -> Self {
        Self { receiver: Receiver::new(), transfer: Transfer::new() }
    }

    /// Take one byte from the line. When it ends a request, do what is asked and send the answer by `out`.
    pub fn on_byte<F: Flash, const UNIT: usize, B: Board>(
        &mut self,
        byte: u8,
        store: &mut Store<F, UNIT>,
        board: &mut B,
        out: &mut impl FnMut(&[u8]),
    ) {
        let counts = self.receiver.counts();
        let Some(frame) = self.receiver.push(byte) else {
            return;
        };
        // An answer here is our own, echoed by the wiring.
        if frame.kind & ANSWER != 0 {
            return;
        }
        let mut context = Context { transfer: &mut self.transfer, store, board, counts };
        let mut reply = Reply::new();
        context.answer(&frame, &mut reply);
        let kind = frame.kind | ANSWER;
        send(kind, frame.sequence, reply.as_bytes(), out);
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

struct Context<'c, F: Flash, B: Board, const UNIT: usize> {
    transfer: &'c mut Transfer,
    store: &'c mut Store<F, UNIT>,
    board: &'c mut B,
    counts: (u32, u32),
}

impl<F: Flash, B: Board, const UNIT: usize> Context<'_, F, B, UNIT> {
    fn answer(&mut self, frame: &Frame<'_>, reply: &mut Reply) {
        let payload = frame.payload;
        let Some(request) = Request::from_byte(frame.kind) else {
            return reply.u8(Code::NotSupported as u8);
        };
        match request {
            Request::PushBegin | Request::StageBegin => {
                let (abi, staged) = (self.board.identity().abi, request == Request::StageBegin);
                return self.transfer.begin(payload, staged, self.store, abi, reply);
            }
            Request::PushData => return self.transfer.data(payload, self.store, reply),
            Request::PushEnd => return self.transfer.end(payload, self.store, self.board, reply),
            _ => {}
        }
        reply.u8(Code::Ok as u8);
        let code = self.ask(request, payload, reply).unwrap_or(Code::Malformed);
        reply.set(0, code as u8);
    }

    /// The answers that start with a code and have no state. Nothing for a malformed request.
    fn ask(&mut self, request: Request, payload: &[u8], reply: &mut Reply) -> Option<Code> {
        let mut cursor = Cursor::new(payload);
        match request {
            Request::Hello => cursor.end(self.hello(reply)),
            Request::Ping => (payload.len() <= PING_BYTES_MAX && reply.put(payload)).then_some(Code::Ok),
            Request::Time => {
                let (time_us, offset_s) = (cursor.u64()?, cursor.u32()? as i32);
                cursor.end(())?;
                if time_us >> TIME_BITS != 0 {
                    return Some(Code::BadValue);
                }
                self.board.set_time(time_us, offset_s);
                Some(Code::Ok)
            }
            Request::Info => self.info(cursor, reply),
            Request::Counters => {
                let place = self.place(cursor)?;
                self.board.counters(place).write(reply);
                Some(Code::Ok)
            }
            Request::Health => cursor.end(self.health(reply)),
            Request::Remove => self.remove(cursor.text()?),
            Request::SetParam => {
                let (rule, index, bits) = (cursor.text()?, cursor.u8()?, cursor.u64()?);
                cursor.end(self.set_param(rule, index, bits))
            }
            Request::Switch | Request::Drop => self.exchange(request, payload, Slot::Staged),
            Request::Back => self.exchange(request, payload, Slot::Previous),
            Request::Good => self.exchange(request, payload, Slot::Running),
            Request::RecordsInfo => {
                cursor.end(())?;
                self.board.records().describe(reply);
                Some(Code::Ok)
            }
            Request::RecordsRead => {
                let sequence = cursor.u32()?;
                cursor.end(())?;
                self.board.records().read(sequence, reply);
                Some(Code::Ok)
            }
            Request::RecordsAck => {
                let sequence = cursor.u32()?;
                cursor.end(())?;
                self.board.records().acknowledge(sequence);
                Some(Code::Ok)
            }
            Request::LlmAnswer => {
                let (number, status) = (cursor.u8()?, cursor.u8()?);
                self.board.llm_answer(number, status, cursor.rest());
                Some(Code::Ok)
            }
            Request::PushBegin | Request::StageBegin | Request::PushData | Request::PushEnd => None,
        }
    }

    fn place(&self, mut cursor: Cursor<'_>) -> Option<u8> {
        let place = cursor.u8()?;
        cursor.end(place).filter(|&place| usize::from(place) < PLACES)
    }

    fn hello(&self, reply: &mut Reply) -> Code {
        reply.u8(PROTOCOL);
        reply.u16(DICTIONARY_VERSION);
        reply.u8(PLACES as u8);
        reply.u32(self.store.program_bytes_max());
        self.board.identity().write(reply);
        Code::Ok
    }

    /// What is in a slot of a place, the running program without a slot. An empty one still says what the others hold.
    fn info(&self, mut cursor: Cursor<'_>, reply: &mut Reply) -> Option<Code> {
        let place = cursor.u8().filter(|&place| usize::from(place) < PLACES)?;
        let slot = match cursor.u8() {
            None | Some(0) => Slot::Running,
            Some(1) => Slot::Previous,
            Some(2) => Slot::Staged,
            Some(_) => return None,
        };
        cursor.end(())?;
        let entry = self.store.entry_in(place, slot);
        let good = entry.is_some_and(|entry| entry.good);
        reply.u8(u8::from(good) | self.store.slots(place) & SLOTS_BESIDE);
        let Some(entry) = entry else {
            return Some(Code::Unknown);
        };
        let mut name = [0; NAME_BYTES_MAX];
        let length = self.store.name(place, &mut name);
        let program = self.store.bytes_of(&entry).unwrap_or(&[]);
        reply.u32(entry.length);
        reply.u64(entry.sequence);
        reply.put(&entry.id);
        reply.text(name.get(..length).unwrap_or(&[]), NAME_BYTES_MAX as u8);
        reply.text(self.board.version(program), VERSION_BYTES_MAX);
        Some(Code::Ok)
    }

    fn health(&self, reply: &mut Reply) -> Code {
        let health = self.board.health();
        let (used, total) = self.store.used_bytes();
        for number in [
            total,
            used,
            health.ram_bytes,
            health.ram_used_bytes,
            health.scans,
            health.scan_us_max,
            self.counts.0,
            self.counts.1,
            self.store.generation(),
        ] {
            reply.u32(number);
        }
        reply.u64(health.uptime_ms);
        reply.u8(health.reset as u8);
        reply.u32(health.stack_bytes);
        reply.u32(health.stack_used_bytes);
        Code::Ok
    }

    /// SWITCH, BACK, DROP and GOOD: all programs with these ids, which lie in `slot` of their places, or none when one is
    /// not there. One that runs already is not started again.
    fn exchange(&mut self, request: Request, payload: &[u8], slot: Slot) -> Option<Code> {
        let (ids, rest) = payload.as_chunks::<ID_BYTES>();
        if ids.is_empty() || !rest.is_empty() {
            return None;
        }
        if !ids.iter().all(|id| has(self.store, id, slot).is_some()) {
            return Some(Code::Unknown);
        }
        let mut code = Code::Already;
        for id in ids {
            let runs = slot != Slot::Running && self.store.place_with(id, Slot::Running).is_some();
            let Some(place) = self.store.place_with(id, slot).filter(|_| !runs) else {
                continue;
            };
            let done = match request {
                Request::Switch => self.store.switch(place),
                Request::Back => self.store.fault(place).map(|_| ()),
                Request::Drop => self.store.drop_staged(place),
                _ => self.store.good(place),
            };
            if done.is_err() {
                return Some(Code::Storage);
            }
            if matches!(request, Request::Switch | Request::Back) {
                self.board.changed(place);
            }
            code = Code::Ok;
        }
        Some(code)
    }

    fn remove(&mut self, rule: &[u8]) -> Option<Code> {
        let Some(place) = self.store.place_of(rule) else {
            return Some(Code::Unknown);
        };
        if self.store.remove(place).is_err() {
            return Some(Code::Storage);
        }
        self.board.changed(place);
        Some(Code::Ok)
    }

    fn set_param(&mut self, rule: &[u8], index: u8, bits: u64) -> Code {
        match self.store.place_of(rule) {
            None => Code::Unknown,
            Some(place) => match self.board.set_param(self.store, place, index, bits) {
                Ok(()) => Code::Ok,
                Err(code) => code,
            },
        }
    }
}
