//! The world as programs see it: the image of the inputs, and what they command.

use eyeflow_state::put;
use eyeflow_svm::{Call, Host, Program, Reply, SiteKind, Value};

use crate::board::{ANALOG, INPUTS, OUTPUTS, PINS};
use crate::capability::Capability;
use crate::io::{Buses, Line};
use crate::outbox::Outbox;

const NOBODY: u8 = u8::MAX;
const LOG_BYTES_MAX: usize = 120;
/// A device that does not answer takes milliseconds of a scan each time.
const RETRIES_MAX: u8 = 7;

/// Inputs as they were sampled, outputs as they are commanded.
pub struct World {
    /// The inputs at the start of this scan, and of the one before.
    pub inputs: [bool; INPUTS],
    pub inputs_before: [bool; INPUTS],
    /// The counts of the analog channels.
    pub counts: [u16; ANALOG],
    /// The commanded levels of the outputs, and the place whose program commanded each.
    pub levels: [bool; OUTPUTS.len()],
    owners: [u8; OUTPUTS.len()],
    pub buses: Buses,
    /// Capabilities that failed since they were last counted.
    pub failures: u32,
    /// Whether an action of this execution changed anything.
    pub acted: bool,
    /// The number of the last event that was sent.
    #[cfg(feature = "events")]
    event: u8,
}

impl World {
    /// Every output at its safe level.
    pub fn new(buses: Buses) -> Self {
        Self {
            inputs: [false; INPUTS],
            inputs_before: [false; INPUTS],
            counts: [0; ANALOG],
            levels: OUTPUTS.map(|output| output.safe_high),
            owners: [NOBODY; OUTPUTS.len()],
            buses,
            failures: 0,
            acted: false,
            #[cfg(feature = "events")]
            event: 0,
        }
    }

    /// What the program of a place commanded goes to its safe level.
    pub fn make_safe(&mut self, place: u8) {
        for ((level, owner), info) in self.levels.iter_mut().zip(&mut self.owners).zip(&OUTPUTS) {
            if *owner == place {
                *level = info.safe_high;
                *owner = NOBODY;
            }
        }
    }

    /// The line of a program's pin.
    pub fn line(program: &Program<'_>, index: u8) -> Option<Line> {
        let (name, output) = program.pin(index)?;
        Self::line_named(name).filter(|line| matches!(line, Line::Output(_)) == output)
    }

    /// The line of a name of the board file.
    pub fn line_named(name: &[u8]) -> Option<Line> {
        PINS.iter().find(|(pin, _)| pin.as_bytes() == name).map(|(_, line)| *line)
    }

    fn read_pin(&self, program: &Program<'_>, index: i64) -> Option<bool> {
        match Self::line(program, u8::try_from(index).ok()?)? {
            Line::Input(input) => self.inputs.get(usize::from(input)).copied(),
            Line::Output(output) => self.levels.get(usize::from(output)).copied(),
        }
    }

    fn set_pin(&mut self, place: u8, program: &Program<'_>, index: i64, high: bool) -> Option<Reply> {
        let Line::Output(output) = Self::line(program, u8::try_from(index).ok()?)? else {
            return None;
        };
        let level = self.levels.get_mut(usize::from(output))?;
        self.acted |= *level != high;
        *level = high;
        *self.owners.get_mut(usize::from(output))? = place;
        Some(Reply::Int(0))
    }
}

/// The world during an execution of the program in one place.
pub struct Turn<'t> {
    pub world: &'t mut World,
    pub outbox: &'t mut Outbox,
    pub program: &'t Program<'static>,
    pub place: u8,
    /// Whether an action failed and those after it do not happen.
    pub cancelled: bool,
    #[cfg(feature = "llm")]
    pub llm: &'t mut crate::llm::Llm,
}

impl Host for Turn<'_> {
    fn read(&mut self, call: Call<'_>, _text: &mut [u8]) -> Reply {
        #[cfg(feature = "llm")]
        if call.site().is_some_and(|site| site.kind == SiteKind::Llm) {
            let reply = self.llm.ask(&call, self.place, _text, self.outbox);
            self.world.failures = self.world.failures.wrapping_add(u32::from(reply.is_none()));
            return reply.unwrap_or(Reply::Failed);
        }
        self.attempts(&call).unwrap_or(Reply::Failed)
    }

    fn act(&mut self, call: Call<'_>) {
        // What follows an action that failed for good is cancelled, unless the rule says to go on.
        if !self.cancelled {
            #[cfg(feature = "events")]
            if call.site().is_some_and(|site| site.kind == SiteKind::Emit) {
                return self.emit(&call);
            }
            let aborts = call.site().is_none_or(|site| site.aborts());
            self.cancelled = self.attempts(&call).is_none() && aborts;
        }
    }
}

impl Turn<'_> {
    /// Send an event to the gateway, once: what the line or a full outbox loses is lost.
    #[cfg(feature = "events")]
    fn emit(&mut self, call: &Call<'_>) {
        use crate::call::{PIECE_BYTES_MAX, send};
        self.world.event = self.world.event.wrapping_add(1);
        let mut offset = 0;
        loop {
            let length = send(eyeflow_link::Unasked::Event, call, self.world.event, self.place, offset, self.outbox);
            offset += PIECE_BYTES_MAX;
            if offset >= length {
                return;
            }
        }
    }

    /// Call a capability, again at once as often as the rule says: a scan waits for no backoff.
    fn attempts(&mut self, call: &Call<'_>) -> Option<Reply> {
        let site = call.site()?;
        let capability = Capability::of(site.capability())?;
        for _ in 0..=site.retries.min(RETRIES_MAX) {
            let reply = self.attempt(capability, call);
            if reply.is_some() {
                return reply;
            }
            self.world.failures = self.world.failures.wrapping_add(1);
        }
        None
    }

    fn attempt(&mut self, capability: Capability, call: &Call<'_>) -> Option<Reply> {
        let numbers = integers(call);
        match capability {
            Capability::ReadPin => Some(Reply::Int(i64::from(self.world.read_pin(self.program, numbers[0])?))),
            Capability::ReadChannel => {
                let channel = usize::try_from(numbers[0]).ok()?;
                Some(Reply::Float(f64::from(*self.world.counts.get(channel)?)))
            }
            Capability::SetPin => self.world.set_pin(self.place, self.program, numbers[0], numbers[1] != 0),
            Capability::Log(level) => self.log(level, call),
            _ => {
                let site = call.site()?;
                self.world.acted |= site.kind == SiteKind::Act;
                self.world.buses.call(capability, &numbers, text(call)).map(Reply::Int)
            }
        }
    }

    /// A line of the log starts with the name of the rule.
    fn log(&mut self, level: eyeflow_link::Level, call: &Call<'_>) -> Option<Reply> {
        let mut line = [0; LOG_BYTES_MAX];
        let mut length = 0;
        for part in [self.program.name().0, b": ", text(call)] {
            let room = LOG_BYTES_MAX - length;
            put(&mut line, &mut length, part.get(..room).unwrap_or(part));
        }
        eyeflow_link::log(level, line.get(..length)?, &mut |frame| self.outbox.push(frame));
        Some(Reply::Int(0))
    }
}

/// The first four arguments that are ints.
fn integers(call: &Call<'_>) -> [i64; 4] {
    let mut numbers = [0; 4];
    let found = call.args().filter_map(|value| match value {
        Value::Int(number) => Some(number),
        _ => None,
    });
    numbers.iter_mut().zip(found).for_each(|(place, number)| *place = number);
    numbers
}

/// The first argument that is a text.
fn text<'c>(call: &Call<'c>) -> &'c [u8] {
    let mut texts = call.args().filter_map(|value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    });
    texts.next().unwrap_or(&[])
}
