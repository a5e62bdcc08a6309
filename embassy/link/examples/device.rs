//! A board without a scan: the real link and the real program store over a TCP port or standard input and output (for
//! a pseudo-terminal), on simulated flash that lies in a file. The Python side is tested against it.
//!
//! `device --listen | --stdio  [--flash FILE] [--chip NAME] [--trust HEX] [--records N] [--cut STEPS] [--seed N]`

use eyeflow_link::{Board, Code, Counters, Facts, Health, Identity, Level, Link, Records, Refused, Unasked, log, send};
use eyeflow_slots::sim::{Geometry, NRF52, RP2040, STM32F4, STM32H7, SimFlash};
use eyeflow_slots::{Flash, PLACES, Start, Store};
use eyeflow_svm::{Crypto, Program, Signed, Why, check_signatures, isa, verify_mcu};
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

const RING_BYTES: usize = 512;
/// The process ends with this code when the power of the flash was cut.
const POWER_CUT: i32 = 3;

fn sha256(data: &[u8]) -> [u8; 32] {
    hmac_sha256::Hash::hash(data)
}

struct Ed25519;

impl Crypto for Ed25519 {
    fn sha256(&mut self, data: &[u8]) -> [u8; 32] {
        sha256(data)
    }

    fn verify(&mut self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        eyeflow_ed25519::verify(key, message, signature)
    }
}

struct Simulated {
    chip: String,
    trusted: Vec<[u8; 32]>,
    boot: u32,
    counters: [Counters; PLACES],
    records: Records<[u8; RING_BYTES]>,
    said: Vec<String>,
    asked: bool,
}

impl Simulated {
    fn refuse(refusal: eyeflow_svm::Refusal) -> Refused {
        let code = match refusal.why {
            Why::Unsigned => Code::Unsigned,
            Why::BadSignature => Code::BadSignature,
            Why::ForeignSignature => Code::ForeignSigned,
            _ => Code::Unverified,
        };
        Refused { code, why: refusal.why as u8, at: refusal.at }
    }

    fn record(&mut self, place: u8) {
        let mut record = vec![1, place, 0, 0];
        record.extend(17_u16.to_le_bytes());
        record.extend(1_u16.to_le_bytes());
        record.extend(93_u32.to_le_bytes());
        record.extend(1_790_000_000_000_000_u64.to_le_bytes());
        record.extend([0xAB; 8]);
        self.records.push(&record);
    }
}

/// The version and the chip in the first section of a program.
fn meta(program: &[u8]) -> (&[u8], &[u8]) {
    let mut cursor = eyeflow_link::Cursor::new(program.get(32..).unwrap_or(&[]));
    let mut text = || cursor.text().unwrap_or(&[]);
    let (_, version, chip) = (text(), text(), text());
    (version, chip)
}

impl Board for Simulated {
    type Ring = [u8; RING_BYTES];

    fn identity(&self) -> Identity<'_> {
        let mut key = [0; 8];
        if let Some(trusted) = self.trusted.first() {
            key.copy_from_slice(&sha256(trusted)[..8]);
        }
        Identity {
            chip: self.chip.as_bytes(),
            firmware: b"0.1.0",
            abi: isa::ABI,
            flags: 2,
            device: *b"\x01\x02\x03\x04sim1",
            key,
            boot: self.boot,
        }
    }

    fn admit<'p>(&mut self, program: &'p [u8]) -> Result<Facts<'p>, Refused> {
        let signed = Signed::parse(program).map_err(Self::refuse)?;
        let id = check_signatures(&signed, &self.trusted, &mut Ed25519).map_err(Self::refuse)?;
        let decoded = Program::decode(program).map_err(Self::refuse)?;
        let (_, chip) = meta(program);
        if !chip.is_empty() && chip != self.chip.as_bytes() {
            return Err(Code::WrongChip.into());
        }
        verify_mcu(&decoded).map_err(Self::refuse)?;
        let (rule, _) = decoded.name();
        Ok(Facts { id, rule, sequence: signed.header.sequence })
    }

    fn changed(&mut self, place: u8) {
        self.said.push(format!("place {place} changed"));
        self.record(place);
        self.counters[usize::from(place)] = Counters { running: 1, ..Counters::default() };
    }

    fn version<'p>(&self, program: &'p [u8]) -> &'p [u8] {
        meta(program).0
    }

    fn counters(&self, place: u8) -> Counters {
        self.counters[usize::from(place)]
    }

    fn health(&self) -> Health {
        Health {
            ram_bytes: 65536,
            ram_used_bytes: 9000,
            scans: 7,
            scan_us_max: 120,
            uptime_ms: 1500,
            ..Health::default()
        }
    }

    fn set_time(&mut self, time_us: u64, utc_offset_s: i32) {
        self.said.push(format!("time {time_us} {utc_offset_s}"));
    }

    fn set_param<F: Flash, const UNIT: usize>(
        &mut self,
        store: &mut Store<F, UNIT>,
        place: u8,
        index: u8,
        bits: u64,
    ) -> Result<(), Code> {
        if index > 0 {
            return Err(Code::Unknown);
        }
        store.keep(place, &bits.to_le_bytes()).map_err(|_| Code::Storage)?;
        self.said.push(format!("param {index} of place {place} is {bits}"));
        Ok(())
    }

    fn llm_answer(&mut self, number: u8, status: u8, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        self.said.push(format!("llm {number} {status} {text}"));
    }

    fn records(&mut self) -> &mut Records<Self::Ring> {
        self.asked = true;
        &mut self.records
    }
}

struct Device<const UNIT: usize> {
    store: Store<SimFlash<UNIT>, UNIT>,
    board: Simulated,
    link: Link,
    image: Option<String>,
    saved: u64,
}

impl<const UNIT: usize> Device<UNIT> {
    fn open(geometry: Geometry, options: &HashMap<String, String>) -> Self {
        let seed = number(options, "seed");
        let image = options.get("flash").cloned();
        let found = image.as_ref().and_then(|path| fs::read(path).ok());
        let found = found.and_then(|bytes| SimFlash::from_image(geometry, &bytes));
        let mut flash = found.unwrap_or_else(|| SimFlash::new(geometry, seed));
        flash.reboot(seed);
        if options.contains_key("cut") {
            flash.cut_after(number(options, "cut"), seed);
        }
        let board = Simulated {
            chip: options.get("chip").cloned().unwrap_or("STM32F401CC".into()),
            trusted: options.get("trust").map(|hex| vec![key(hex)]).unwrap_or_default(),
            boot: std::process::id(),
            counters: [Counters::default(); PLACES],
            records: Records::new([0; RING_BYTES], sha256, sha256(b"genesis")),
            said: vec!["simulated board started".into()],
            asked: false,
        };
        let mut device = Self { store: Store::open(flash), board, link: Link::new(), image, saved: 0 };
        for place in 0..PLACES as u8 {
            let started = device.store.start(place).unwrap_or(Start::Empty);
            device.board.counters[usize::from(place)].running = u8::from(started == Start::Run);
        }
        for _ in 0..number(options, "records") {
            device.board.record(0);
        }
        device
    }

    fn save(&mut self) {
        let flash = self.store.flash();
        if flash.steps() != self.saved
            && let Some(path) = &self.image
        {
            let partial = format!("{path}.new");
            fs::write(&partial, flash.image()).and_then(|()| fs::rename(&partial, path)).expect("the image is written");
        }
        self.saved = flash.steps();
        if flash.is_off() {
            std::process::exit(POWER_CUT);
        }
    }

    /// Serve one connection until it ends.
    fn serve(&mut self, mut input: impl Read, mut output: impl Write) {
        let mut buffer = [0; 256];
        loop {
            let mut answer = Vec::new();
            let mut out = |bytes: &[u8]| answer.extend_from_slice(bytes);
            for line in self.board.said.drain(..) {
                log(Level::Info, line.as_bytes(), &mut out);
            }
            if output.write_all(&answer).and_then(|()| output.flush()).is_err() {
                return;
            }
            let count = match input.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            answer.clear();
            let mut out = |bytes: &[u8]| answer.extend_from_slice(bytes);
            for &byte in &buffer[..count] {
                self.link.on_byte(byte, &mut self.store, &mut self.board, &mut out);
            }
            if std::mem::take(&mut self.board.asked) {
                send(Unasked::LlmRequest as u8, 0, b"\x01\x00\x02\x00\x00\x00\x0c\x00\x03\x0ais it hot?", &mut out);
            }
            self.save();
            if output.write_all(&answer).and_then(|()| output.flush()).is_err() {
                return;
            }
        }
    }
}

fn number(options: &HashMap<String, String>, name: &str) -> u64 {
    options.get(name).map_or(0, |text| text.parse().expect("a number"))
}

fn key(hex: &str) -> [u8; 32] {
    core::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("hex digits"))
}

fn run<const UNIT: usize>(geometry: Geometry, options: &HashMap<String, String>) {
    let mut device = Device::<UNIT>::open(geometry, options);
    if options.contains_key("stdio") {
        return device.serve(std::io::stdin(), std::io::stdout());
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{}", listener.local_addr().expect("an address").port());
    for stream in listener.incoming() {
        let stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        device.serve(&stream, &stream);
    }
}

fn main() {
    let mut options = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value =
            if name == "--listen" || name == "--stdio" { String::new() } else { words.next().expect("a value") };
        options.insert(name.trim_start_matches('-').to_string(), value);
    }
    match options.get("geometry").map(String::as_str) {
        Some("h7") => run::<32>(STM32H7, &options),
        Some("nrf52") => run::<4>(NRF52, &options),
        Some("rp2040") => run::<256>(RP2040, &options),
        _ => run::<4>(STM32F4, &options),
    }
}
