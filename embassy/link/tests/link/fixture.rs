//! A board without hardware for the tests: a program is a length byte, the rule's name, eight bytes of sequence, and text.

use eyeflow_link::{Board, Code, Counters, Facts, Health, Identity, Link, Records, Refused, Reset};
use eyeflow_slots::sim::{STM32F4, SimFlash};
use eyeflow_slots::{Flash, Store};

pub const ABI: u8 = 1;

pub fn sha256(data: &[u8]) -> [u8; 32] {
    hmac_sha256::Hash::hash(data)
}

pub struct Fixture {
    pub changed: Vec<u8>,
    pub time: (u64, i32),
    pub llm: Vec<(u8, u8, Vec<u8>)>,
    pub records: Records<[u8; 200]>,
}

impl Fixture {
    pub fn new() -> Self {
        Self { changed: vec![], time: (0, 0), llm: vec![], records: Records::new([0; 200], sha256, sha256(b"genesis")) }
    }
}

impl Board for Fixture {
    type Ring = [u8; 200];

    fn identity(&self) -> Identity<'_> {
        Identity {
            chip: b"STM32F401CC",
            firmware: b"0.1.0",
            abi: ABI,
            flags: 2,
            device: [1, 2, 3, 4, 5, 6, 7, 8],
            key: [0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7],
            boot: 99,
        }
    }

    fn admit<'p>(&mut self, program: &'p [u8]) -> Result<Facts<'p>, Refused> {
        let unverified = Refused { code: Code::Unverified, why: 7, at: 21 };
        let (&length, rest) = program.split_first().ok_or(unverified)?;
        let (rule, rest) = rest.split_at_checked(usize::from(length)).ok_or(unverified)?;
        let sequence = rest.first_chunk().ok_or(unverified)?;
        match rest.get(8..) {
            Some(b"unsigned") => Err(Code::Unsigned.into()),
            Some(b"foreign") => Err(Code::ForeignSigned.into()),
            Some(b"changed") => Err(Code::BadSignature.into()),
            Some(b"other chip") => Err(Code::WrongChip.into()),
            Some(b"no such pin") => Err(Code::Incapable.into()),
            Some(b"unverified") => Err(unverified),
            _ => Ok(Facts { id: sha256(program), rule, sequence: u64::from_le_bytes(*sequence) }),
        }
    }

    fn changed(&mut self, place: u8) {
        self.changed.push(place);
    }

    fn version<'p>(&self, _program: &'p [u8]) -> &'p [u8] {
        b"1.2.0"
    }

    fn counters(&self, place: u8) -> Counters {
        Counters {
            running: 1,
            trap: place,
            pc: 258,
            executions: 100_000,
            traps: 3,
            skips: 2,
            failures: 1,
            fuel_max: 93,
        }
    }

    fn health(&self) -> Health {
        Health {
            ram_bytes: 65536,
            ram_used_bytes: 9000,
            scans: 7,
            scan_us_max: 120,
            uptime_ms: 1500,
            reset: Reset::Watchdog,
            stack_bytes: 4096,
            stack_used_bytes: 1800,
        }
    }

    fn set_time(&mut self, time_us: u64, utc_offset_s: i32) {
        self.time = (time_us, utc_offset_s);
    }

    fn set_param<F: Flash, const UNIT: usize>(
        &mut self,
        _store: &mut Store<F, UNIT>,
        _place: u8,
        index: u8,
        bits: u64,
    ) -> Result<(), Code> {
        match (index, bits) {
            (0, ..100) => Ok(()),
            (0, _) => Err(Code::BadValue),
            _ => Err(Code::Unknown),
        }
    }

    fn llm_answer(&mut self, number: u8, status: u8, text: &[u8]) {
        self.llm.push((number, status, text.to_vec()));
    }

    fn records(&mut self) -> &mut Records<Self::Ring> {
        &mut self.records
    }
}

/// A board and its link.
pub struct Rig {
    pub link: Link,
    pub store: Store<SimFlash<4>, 4>,
    pub board: Fixture,
}

impl Rig {
    pub fn new() -> Self {
        Self { link: Link::new(), store: Store::open(SimFlash::new(STM32F4, 5)), board: Fixture::new() }
    }

    /// Feed bytes; gives everything that the board sends.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = vec![];
        for &byte in bytes {
            let mut out = |piece: &[u8]| sent.extend_from_slice(piece);
            self.link.on_byte(byte, &mut self.store, &mut self.board, &mut out);
        }
        sent
    }

    /// Ask once; gives the payload of the answer.
    pub fn ask(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut wire = vec![];
        eyeflow_link::send(kind, 77, payload, &mut |bytes| wire.extend_from_slice(bytes));
        let sent = self.feed(&wire);
        let frames = frames(&sent);
        assert_eq!(frames.len(), 1, "one answer to each request");
        assert_eq!((frames[0].0, frames[0].1), (kind | 0x80, 77));
        frames[0].2.clone()
    }
}

/// The frames in these bytes.
pub fn frames(bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut receiver = eyeflow_link::Receiver::new();
    let mut found = vec![];
    for &byte in bytes {
        if let Some(frame) = receiver.push(byte) {
            found.push((frame.kind, frame.sequence, frame.payload.to_vec()));
        }
    }
    found
}

pub fn program(rule: &str, sequence: u64, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![rule.len() as u8];
    bytes.extend(rule.as_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(text);
    bytes
}

pub fn announce(program: &[u8], rule: &str, sequence: u64) -> Vec<u8> {
    let mut payload = sha256(program).to_vec();
    payload.extend(sequence.to_le_bytes());
    payload.extend((program.len() as u32).to_le_bytes());
    payload.extend((program.len() as u32).to_le_bytes());
    payload.extend([ABI, 0, 0, 0, rule.len() as u8]);
    payload.extend(rule.as_bytes());
    payload
}
