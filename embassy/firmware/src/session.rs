//! What the board does for the link: who it is, whether it takes a program, how it is.

use embassy_time::Instant;
use eyeflow_link::{Board, Code, Counters, Facts, Health, Identity, Records, Refused};
use eyeflow_slots::{Flash, Store};
use eyeflow_svm::isa::ABI;
use eyeflow_svm::{Program, Refusal, Signed, Value, ValueType, Why, check_signatures, verify_mcu};

use crate::board::{self, CHIP, SIGNERS};
use crate::capability::Capability;
use crate::crypto::{BoardCrypto, sha256};
use crate::place::{fits, starts};
use crate::runtime::{Ring, Runtime};
use crate::world::World;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MCU: u8 = 1;
const FLAG_LLM: u8 = 2;

impl Board for Runtime {
    type Ring = Ring;

    fn identity(&self) -> Identity<'_> {
        let llm = if board::LLM_DELEGATED { FLAG_LLM } else { 0 };
        Identity {
            chip: CHIP.as_bytes(),
            firmware: VERSION.as_bytes(),
            abi: ABI,
            flags: llm,
            device: crate::device(),
            key: SIGNERS.first().and_then(|key| sha256(key).first_chunk().copied()).unwrap_or_default(),
            boot: self.boot,
        }
    }

    #[inline(never)]
    fn admit<'p>(&mut self, bytes: &'p [u8]) -> Result<Facts<'p>, Refused> {
        let signed = Signed::parse(bytes).map_err(refused)?;
        let id = check_signatures(&signed, &SIGNERS, &mut BoardCrypto).map_err(refused)?;
        if signed.header.profile != MCU {
            return Err(Code::WrongChip.into());
        }
        let program = Program::decode(bytes).map_err(refused)?;
        let chip = program.chip();
        if !chip.is_empty() && chip != CHIP.as_bytes() {
            return Err(Code::WrongChip.into());
        }
        let verified = verify_mcu(&program).map_err(refused)?;
        if !fits(&verified) {
            return Err(Code::TooBig.into());
        }
        if !self.can_run(&program) {
            return Err(Code::Incapable.into());
        }
        Ok(Facts { id, rule: program.name().0, sequence: signed.header.sequence })
    }

    fn changed(&mut self, place: u8) {
        self.stale |= 1 << place;
    }

    fn version<'p>(&self, program: &'p [u8]) -> &'p [u8] {
        Program::decode(program).map_or(&[], |program| program.name().1)
    }

    fn counters(&self, place: u8) -> Counters {
        self.places.get(usize::from(place)).map_or(Counters::default(), |place| place.counters)
    }

    fn health(&self) -> Health {
        let (stack, stack_used) = crate::stack::used();
        let data = board::DATA_BYTES;
        Health {
            ram_bytes: data + stack,
            ram_used_bytes: crate::stack::data_used() + stack_used,
            scans: self.scans,
            scan_us_max: self.scan_us_max,
            uptime_ms: Instant::now().as_millis(),
            reset: self.reset,
            stack_bytes: stack,
            stack_used_bytes: stack_used,
        }
    }

    fn set_time(&mut self, time_us: u64, utc_offset_s: i32) {
        let time_us = time_us as i64;
        let clock_us = time_us.wrapping_sub(Instant::now().as_micros() as i64);
        let step_us = clock_us.wrapping_sub(self.clock_us);
        // What a host's clock stamped before the start keeps its time, unless that lies in the future now.
        let since_us = if step_us < 0 { 0 } else { self.restored_us + 1 };
        for place in &mut self.places {
            place.shift(since_us, step_us, time_us);
        }
        (self.clock_us, self.restored_us, self.told) = (clock_us, -1, true);
        self.utc_offset_us = i64::from(utc_offset_s) * 1_000_000;
    }

    fn set_param<F: Flash, const UNIT: usize>(
        &mut self,
        store: &mut Store<F, UNIT>,
        place: u8,
        index: u8,
        bits: u64,
    ) -> Result<(), Code> {
        let target = self.places.get_mut(usize::from(place)).ok_or(Code::Unknown)?;
        let (loaded, mut instance) = target.parts().ok_or(Code::Unknown)?;
        let program = loaded.verified.program();
        let value = match program.slot(usize::from(index)).map(|slot| slot.value_type) {
            Some(ValueType::Bool) if bits <= 1 => Value::Bool(bits == 1),
            Some(ValueType::Int) => Value::Int(bits as i64),
            Some(ValueType::Float) => Value::Float(f64::from_bits(bits)),
            Some(_) => return Err(Code::BadValue),
            None => return Err(Code::Unknown),
        };
        instance.set_param(program, usize::from(index), value).map_err(|_| Code::BadValue)?;
        target.params_set |= 1 << (index & 63);
        let now_s = (Instant::now().as_millis() / 1000) as u32;
        self.keep(store, place, true, now_s).map(|_| ()).map_err(|_| Code::Storage)
    }

    /// A board that never asks takes no answer.
    fn llm_answer(&mut self, _number: u8, _status: u8, _text: &[u8]) {
        #[cfg(feature = "llm")]
        self.llm.take(_number, _status, _text);
    }

    fn records(&mut self) -> &mut Records<Self::Ring> {
        &mut self.records
    }
}

impl Runtime {
    /// Whether this board has every pin, capability and trigger of a program.
    fn can_run(&self, program: &Program<'_>) -> bool {
        let mut pin = 0;
        while program.pin(pin).is_some() {
            if World::line(program, pin).is_none() {
                return false;
            }
            pin += 1;
        }
        for index in 0..program.sites() {
            let site = program.site(index);
            #[cfg(feature = "events")]
            if site.is_some_and(|site| site.kind == eyeflow_svm::SiteKind::Emit) {
                continue;
            }
            let names = site.and_then(|site| site.names());
            if names.and_then(|names| Capability::of(names.capability)).is_none() {
                return false;
            }
        }
        starts(program, 0).is_some()
    }
}

fn refused(refusal: Refusal) -> Refused {
    let code = match refusal.why {
        Why::Unsigned => Code::Unsigned,
        Why::BadSignature => Code::BadSignature,
        Why::ForeignSignature => Code::ForeignSigned,
        Why::Version => Code::WrongAbi,
        _ => Code::Unverified,
    };
    Refused { code, why: refusal.why as u8, at: refusal.at }
}
