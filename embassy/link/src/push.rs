//! Receiving a program: begin, data, end. docs/serial-link.md, Push.

use crate::bytes::{Cursor, Reply};
use crate::dictionary::DICTIONARY_VERSION;
use crate::lz::{Broken, History, Lz};
use crate::message::{Board, Code, Refused};
use eyeflow_slots::{Begin, Claim, Flash, ID_BYTES, NAME_BYTES_MAX, Slot, Store, StoreError};

const RAW: u8 = 0;
const COMPRESSED: u8 = 1;
const WITH_DICTIONARY: u8 = 2;
const KEY_BYTES: usize = 8;

/// What a PUSH_BEGIN announces.
#[derive(Clone, Copy)]
struct Announced<'a> {
    claim: Claim<'a>,
    encoded_bytes: u32,
    abi: u8,
    encoding: u8,
    dictionary: u16,
}

impl<'a> Announced<'a> {
    fn read(payload: &'a [u8], staged: bool) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let id = cursor.array::<ID_BYTES>()?;
        let sequence = cursor.u64()?;
        let length = cursor.u32()?;
        let encoded_bytes = cursor.u32()?;
        let abi = cursor.u8()?;
        let encoding = cursor.u8()?;
        let dictionary = cursor.u16()?;
        let rule = cursor.text()?;
        let named = !rule.is_empty() && rule.len() <= NAME_BYTES_MAX;
        let sized = length > 0 && encoded_bytes > 0;
        let claim = Claim { rule, id, sequence, length, staged };
        let whole = cursor.end(Self { claim, encoded_bytes, abi, encoding, dictionary });
        whole.filter(|_| named && sized)
    }
}

/// The program that is being received, if any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// The first bytes of the program's id.
    key: [u8; KEY_BYTES],
    size: u32,
    encoded_bytes: u32,
    received: u32,
    encoding: u8,
    staged: bool,
    lz: Lz,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Receiving,
    /// It was refused so; a repeated request gets the same answer.
    Refused(Refused),
}

struct OnFlash<'s, F: Flash, const UNIT: usize>(&'s mut Store<F, UNIT>);

impl<F: Flash, const UNIT: usize> History for OnFlash<'_, F, UNIT> {
    fn put(&mut self, byte: u8) -> Result<(), Broken> {
        self.0.write(&[byte]).map_err(|_| Broken)
    }

    fn get(&self, position: u32) -> Option<u8> {
        self.0.received(position)
    }
}

fn storage(error: StoreError) -> Code {
    match error {
        StoreError::TooBig => Code::TooBig,
        StoreError::Full => Code::NoRoom,
        StoreError::Flash | StoreError::Order => Code::Storage,
    }
}

impl Transfer {
    pub(crate) const fn new() -> Self {
        Self {
            key: [0; KEY_BYTES],
            size: 0,
            encoded_bytes: 0,
            received: 0,
            encoding: RAW,
            staged: false,
            lz: Lz::new(0, false),
            state: State::Idle,
        }
    }

    /// PUSH_BEGIN, and STAGE_BEGIN for a program that shall wait. Answers code, then a number: where to go on, steps left, or what the code is about.
    pub(crate) fn begin<F: Flash, const UNIT: usize>(
        &mut self,
        payload: &[u8],
        staged: bool,
        store: &mut Store<F, UNIT>,
        abi: u8,
        reply: &mut Reply,
    ) {
        let (code, number) = match Announced::read(payload, staged) {
            Some(announced) => self.try_begin(&announced, store, abi).unwrap_or_else(|refused| refused),
            None => (Code::Malformed, 0),
        };
        reply.u8(code as u8);
        reply.u64(number);
    }

    fn try_begin<F: Flash, const UNIT: usize>(
        &mut self,
        announced: &Announced<'_>,
        store: &mut Store<F, UNIT>,
        abi: u8,
    ) -> Result<(Code, u64), (Code, u64)> {
        let claim = &announced.claim;
        if has(store, claim.id, arrived(claim.staged)).is_some() {
            return Ok((Code::Already, 0));
        }
        let place = store.place_of(claim.rule).or(store.free_place());
        let place = place.ok_or((Code::FifthProgram, 0))?;
        check(announced, store, abi)?;
        if self.continues(announced, store) {
            return Ok((Code::Ok, u64::from(self.received)));
        }
        self.state = State::Idle;
        let begun = store.begin(place, claim);
        match begun.map_err(|error| (storage(error), u64::from(store.program_bytes_max())))? {
            Begin::Wait(steps) => Ok((Code::Wait, u64::from(steps))),
            Begin::Ready => {
                self.start(announced);
                Ok((Code::Ok, 0))
            }
        }
    }

    fn continues<F: Flash, const UNIT: usize>(&self, announced: &Announced<'_>, store: &Store<F, UNIT>) -> bool {
        self.state == State::Receiving
            && store.progress().is_some()
            && announced.claim.id.starts_with(&self.key)
            && announced.claim.length == self.size
            && announced.encoded_bytes == self.encoded_bytes
            && announced.encoding == self.encoding
            && announced.claim.staged == self.staged
    }

    fn start(&mut self, announced: &Announced<'_>) {
        *self = Self {
            key: [0; KEY_BYTES],
            size: announced.claim.length,
            encoded_bytes: announced.encoded_bytes,
            received: 0,
            encoding: announced.encoding,
            staged: announced.claim.staged,
            lz: Lz::new(announced.claim.length, announced.encoding == WITH_DICTIONARY),
            state: State::Receiving,
        };
        for (place, &byte) in self.key.iter_mut().zip(announced.claim.id) {
            *place = byte;
        }
    }

    /// PUSH_DATA. Answers code, then where to go on.
    pub(crate) fn data<F: Flash, const UNIT: usize>(
        &mut self,
        payload: &[u8],
        store: &mut Store<F, UNIT>,
        reply: &mut Reply,
    ) {
        let mut cursor = Cursor::new(payload);
        let code = match cursor.u32() {
            None => Code::Malformed,
            Some(offset) => self.take(offset, cursor.rest(), store),
        };
        reply.u8(code as u8);
        reply.u32(self.received);
    }

    fn take<F: Flash, const UNIT: usize>(&mut self, offset: u32, bytes: &[u8], store: &mut Store<F, UNIT>) -> Code {
        match self.state {
            State::Refused(refused) => return refused.code,
            State::Receiving if store.progress().is_some() => {}
            _ => return Code::NoTransfer,
        }
        if offset != self.received {
            return Code::Offset;
        }
        let left = self.encoded_bytes - self.received;
        if bytes.is_empty() || bytes.len() as u32 > left {
            return Code::Malformed;
        }
        let done = if self.encoding == RAW {
            store.write(bytes).map_err(storage)
        } else {
            self.decompress(bytes, bytes.len() as u32 == left, store)
        };
        match done {
            Ok(()) => {
                self.received += bytes.len() as u32;
                Code::Ok
            }
            Err(code) => {
                store.abandon();
                self.state = State::Refused(code.into());
                code
            }
        }
    }

    fn decompress<F: Flash, const UNIT: usize>(
        &mut self,
        bytes: &[u8],
        last: bool,
        store: &mut Store<F, UNIT>,
    ) -> Result<(), Code> {
        let mut history = OnFlash(store);
        let done = self.lz.feed(bytes, last, &mut history);
        // The store drops the program when the flash fails.
        let failed = store.progress().is_none();
        done.map_err(|Broken| if failed { Code::Storage } else { Code::BadEncoding })
    }

    /// PUSH_END. Answers code, the verifier's reason and place, and the place of the program.
    pub(crate) fn end<F: Flash, const UNIT: usize, B: Board>(
        &mut self,
        payload: &[u8],
        store: &mut Store<F, UNIT>,
        board: &mut B,
        reply: &mut Reply,
    ) {
        let mut cursor = Cursor::new(payload);
        let id = cursor.array::<ID_BYTES>().and_then(|id| cursor.end(id));
        let done = match id {
            None => Err(Code::Malformed.into()),
            Some(id) => self.try_end(id, store, board),
        };
        let (refused, place) = match done {
            Ok((code, place)) => (code.into(), place),
            Err(refused) => (refused, u8::MAX),
        };
        reply.u8(refused.code as u8);
        reply.u8(refused.why);
        reply.u32(refused.at);
        reply.u8(place);
    }

    fn try_end<F: Flash, const UNIT: usize, B: Board>(
        &mut self,
        id: &[u8; ID_BYTES],
        store: &mut Store<F, UNIT>,
        board: &mut B,
    ) -> Result<(Code, u8), Refused> {
        if let Some(place) = has(store, id, arrived(self.staged)) {
            return Ok((Code::Already, place));
        }
        match self.state {
            State::Refused(refused) if id.starts_with(&self.key) => return Err(refused),
            State::Receiving if id.starts_with(&self.key) => {}
            _ => return Err(Code::NoTransfer.into()),
        }
        if self.received != self.encoded_bytes {
            return Err(Code::Offset.into());
        }
        let done = admit(store, board, self.staged);
        store.abandon();
        self.state = match done {
            Ok(_) => State::Idle,
            Err(refused) => State::Refused(refused),
        };
        done.map(|place| (Code::Ok, place))
    }
}

/// The place that has a program, running or in `slot`.
#[inline(never)]
pub(crate) fn has<F: Flash, const UNIT: usize>(store: &Store<F, UNIT>, id: &[u8; ID_BYTES], slot: Slot) -> Option<u8> {
    store.place_with(id, Slot::Running).or_else(|| store.place_with(id, slot))
}

/// Where a program is when it arrived before: it waits when that is what was asked for.
const fn arrived(staged: bool) -> Slot {
    if staged { Slot::Staged } else { Slot::Running }
}

/// What can be refused before any byte is sent.
fn check<F: Flash, const UNIT: usize>(
    announced: &Announced<'_>,
    store: &Store<F, UNIT>,
    abi: u8,
) -> Result<(), (Code, u64)> {
    if announced.abi != abi {
        return Err((Code::WrongAbi, u64::from(abi)));
    }
    let floor = store.floor(announced.claim.rule);
    if announced.claim.sequence < floor {
        return Err((Code::Older, floor));
    }
    match announced.encoding {
        RAW if announced.encoded_bytes != announced.claim.length => Err((Code::Malformed, 0)),
        RAW | COMPRESSED => Ok(()),
        WITH_DICTIONARY if announced.dictionary == DICTIONARY_VERSION => Ok(()),
        WITH_DICTIONARY => Err((Code::OtherDictionary, u64::from(DICTIONARY_VERSION))),
        _ => Err((Code::Malformed, 0)),
    }
}

/// Check the received program and commit it.
fn admit<F: Flash, const UNIT: usize, B: Board>(
    store: &mut Store<F, UNIT>,
    board: &mut B,
    staged: bool,
) -> Result<u8, Refused> {
    let program = store.finish().map_err(storage)?;
    let facts = board.admit(program)?;
    let (id, sequence) = (facts.id, facts.sequence);
    let key = eyeflow_slots::rule_key(facts.rule);
    let claimed = store.claimed().ok_or(Code::Storage)?;
    if claimed.id != id {
        return Err(Code::BadHash.into());
    }
    if claimed.sequence != sequence || claimed.rule != key {
        return Err(Code::OtherProgram.into());
    }
    let place = store.commit().map_err(storage)?;
    // A staged program changes nothing of what runs.
    if !staged {
        board.changed(place);
    }
    Ok(place)
}
