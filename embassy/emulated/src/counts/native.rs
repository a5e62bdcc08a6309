//! The counted rules by hand, as for a firmware of their own: the same checked 64-bit integers, floats and time words,
//! state that changes only when an execution ends well, and none of a virtual machine.

use crate::io::{Io, Missing};

/// Why an execution ended without effect: where a rule traps, or a read fails.
#[derive(Clone, Copy)]
pub struct Fault;

impl From<Missing> for Fault {
    fn from(_: Missing) -> Self {
        Self
    }
}

pub type Done = Result<(), Fault>;

#[derive(Clone, Copy)]
pub struct Interlock {
    pub starts_max: i64,
    pub running: bool,
    pub starts: i64,
}

const START: usize = 0;
const STOP: usize = 1;
const GUARD: usize = 2;
const MOTOR: usize = 3;
const FAULT: usize = 4;

impl Interlock {
    /// At its first start, with the parameters that its rule has.
    pub const FRESH: Self = Self { starts_max: 20, running: false, starts: 0 };

    pub fn step(&mut self, io: &mut Io) -> Done {
        let stopped = !io.read_pin(STOP).ok_or(Fault)?;
        let guard_open = !io.read_pin(GUARD).ok_or(Fault)?;
        let asked = io.read_pin(START).ok_or(Fault)?;
        if stopped || guard_open {
            self.running = false;
        } else if asked && !self.running && self.starts < self.starts_max {
            self.starts = self.starts.checked_add(1).ok_or(Fault)?;
            self.running = true;
        }
        io.set_pin(MOTOR, self.running)?;
        io.set_pin(FAULT, guard_open && !stopped)?;
        Ok(())
    }
}

#[derive(Clone, Copy)]
pub struct FlowControl {
    pub target: i64,
    pub filtered: i64,
    pub integral: i64,
}

const KNOTS: [i64; 8] = [0, 420, 900, 1450, 2060, 2720, 3420, 4095];
const INTEGRAL_MAX: i64 = 4_000_000;

impl FlowControl {
    /// At its first start, with the parameters that its rule has.
    pub const FRESH: Self = Self { target: 2400, filtered: 0, integral: 0 };

    pub fn step(&mut self, io: &mut Io) -> Done {
        let raw = io.read_word(0, 64, 2).ok_or(Fault)?;
        let flow = linear(raw).ok_or(Fault)?;
        let (filtered, integral, valve) = self.control(flow).ok_or(Fault)?;
        (self.filtered, self.integral) = (filtered, integral);
        io.write_channel(0, valve)?;
        Ok(())
    }

    fn control(&self, flow: i64) -> Option<(i64, i64, i64)> {
        let filtered = self.filtered.checked_add(flow.checked_mul(16)?.checked_sub(self.filtered)? / 8)?;
        let wrong = self.target.checked_mul(16)?.checked_sub(filtered)?;
        let integral = self.integral.checked_add(wrong)?.clamp(-INTEGRAL_MAX, INTEGRAL_MAX);
        let valve = 2048_i64.checked_add(wrong / 24)?.checked_add(integral / 4096)?.clamp(0, 4095);
        Some((filtered, integral, valve))
    }
}

fn linear(raw: i64) -> Option<i64> {
    let mut flow = 0;
    let mut base = 0;
    for pair in KNOTS.windows(2) {
        let &[low, high] = pair else { return None };
        if raw >= low {
            let part = raw.checked_sub(low)?.checked_mul(512)?.checked_div(high - low)?;
            flow = part.checked_add(base)?;
        }
        base += 512;
    }
    Some(flow)
}

#[derive(Clone, Copy)]
pub struct OverheatRelay {
    pub limit: f64,
    pub hold_us: i64,
    pub trips: i64,
    pub above: bool,
    pub since_us: Option<i64>,
    pub was_hot: bool,
}

impl OverheatRelay {
    /// At its first start, with the parameters that its rule has.
    pub const FRESH: Self =
        Self { limit: 80.0, hold_us: 2_000_000, trips: 0, above: false, since_us: None, was_hot: false };

    pub fn step(&mut self, io: &mut Io) -> Done {
        let temp = io.read_channel(0).unwrap_or(9999.0) * 0.1;
        let above = temp > if self.above { self.limit - 5.0 } else { self.limit };
        let since_us = if above { Some(self.since_us.unwrap_or(io.time_us)) } else { None };
        let hot = since_us.is_some_and(|since| io.time_us.saturating_sub(since) >= self.hold_us);
        if hot && !self.was_hot {
            self.trips = self.trips.checked_add(1).ok_or(Fault)?;
        }
        (self.above, self.since_us, self.was_hot) = (above, since_us, hot);
        io.set_pin(0, hot)?;
        Ok(())
    }
}

const SAMPLES: usize = 20;

#[derive(Clone, Copy)]
pub struct WindowMean {
    pub limit: f64,
    pub samples: [f64; SAMPLES],
    pub head: usize,
    pub count: usize,
}

impl WindowMean {
    /// At its first start, with the parameters that its rule has.
    pub const FRESH: Self = Self { limit: 1800.0, samples: [0.0; SAMPLES], head: 0, count: 0 };

    pub fn step(&mut self, io: &mut Io) -> Done {
        let sample = io.read_channel(0).ok_or(Fault)?;
        *self.samples.get_mut(self.head).ok_or(Fault)? = sample;
        self.head = if self.head + 1 == SAMPLES { 0 } else { self.head + 1 };
        self.count = SAMPLES.min(self.count + 1);
        // From the oldest to the newest: float addition is not associative, and decisions are to be the same.
        let (newer, older) = self.samples.split_at_checked(self.head).ok_or(Fault)?;
        let older = if self.count == SAMPLES { older } else { &[] };
        let sum = older.iter().chain(newer).fold(0.0, |sum, sample| sum + sample);
        let mean = sum / self.count as f64;
        io.set_pin(0, mean > self.limit)?;
        Ok(())
    }
}

#[derive(Clone, Copy)]
pub struct Vote {
    pub limit_bar: f64,
    pub trips: i64,
    pub was_asked: bool,
}

impl Vote {
    /// At its first start, with the parameters that its rule has.
    pub const FRESH: Self = Self { limit_bar: 6.0, trips: 0, was_asked: false };

    pub fn step(&mut self, io: &mut Io) -> Done {
        let mut votes = 0;
        for channel in 0..3 {
            let counts = io.read_channel(channel).unwrap_or(0.0);
            let broken = !(360.0..=2100.0).contains(&counts);
            if broken || (counts - 400.0) / 160.0 >= self.limit_bar {
                votes += 1;
            }
        }
        let asked = votes >= 2;
        if asked && !self.was_asked {
            self.trips = self.trips.checked_add(1).ok_or(Fault)?;
        }
        self.was_asked = asked;
        io.set_pin(0, !(asked || self.trips >= 50))?;
        Ok(())
    }
}
