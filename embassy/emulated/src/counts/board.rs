//! One program on the SVM, as a firmware keeps it, with the sites of its calls looked up once.

use eyeflow_svm::{
    Call, Event, Execution, Host, Instance, Machine, Misfit, Program, Reply, Status, Value, Verified, Workspace,
    verify_mcu,
};

use crate::io::Io;

const SITES: usize = 16;

/// What a site of a program asks for.
#[derive(Clone, Copy)]
enum Wired {
    Nothing,
    ReadChannel,
    ReadPin,
    ReadWord,
    SetPin,
    WriteChannel,
}

fn wired(capability: &[u8]) -> Wired {
    match capability {
        b"adc.read_channel" => Wired::ReadChannel,
        b"gpio.read_pin" => Wired::ReadPin,
        b"i2c.read_word" => Wired::ReadWord,
        b"gpio.set_pin" => Wired::SetPin,
        b"dac.write_channel" => Wired::WriteChannel,
        _ => Wired::Nothing,
    }
}

/// A loaded program with its memory.
pub struct Board<'a> {
    bytes: &'a [u8],
    verified: Option<Verified<'a>>,
    sites: [Wired; SITES],
    instance_words: [u64; 128],
    instance_bytes: [u8; 64],
    work_words: [u64; 256],
    work_bytes: [u8; 512],
}

impl<'a> Board<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            verified: None,
            sites: [Wired::Nothing; SITES],
            instance_words: [0; 128],
            instance_bytes: [0; 64],
            work_words: [0; 256],
            work_bytes: [0; 512],
        }
    }

    /// Decode and prove.
    pub fn load(&mut self) -> bool {
        self.verified = Program::decode(self.bytes).and_then(|program| verify_mcu(&program)).ok();
        self.verified.is_some()
    }

    /// Put the state to its initial values and look up the sites.
    pub fn begin(&mut self) -> bool {
        let Some(verified) = &self.verified else { return false };
        let program = verified.program();
        for (index, site) in self.sites.iter_mut().enumerate().take(usize::from(program.sites())) {
            let names = program.site(index as u16).and_then(|site| site.names());
            *site = names.map_or(Wired::Nothing, |names| wired(names.capability));
        }
        Instance::new(verified, &mut self.instance_words, &mut self.instance_bytes).is_ok()
    }

    /// Bytes of RAM that the program needs: its instance, and its share of the workspace.
    pub fn needs(&self) -> (usize, usize) {
        let Some(verified) = &self.verified else { return (0, 0) };
        let needs = verified.needs();
        (8 * needs.instance_words + needs.instance_bytes, 8 * needs.work_words + needs.work_bytes)
    }

    /// One execution, as the firmware's scan calls it; the fuel it took.
    pub fn step(&mut self, io: &mut Io) -> Option<u32> {
        let Self { verified, sites, instance_words, instance_bytes, work_words, work_bytes, .. } = self;
        let verified = verified.as_ref()?;
        let event = Event { trigger: 0, time_us: io.time_us, utc_offset_us: 0, inputs: &[] };
        let mut instance = Instance::keep(verified, instance_words, instance_bytes).ok()?;
        let mut workspace = Workspace::new(work_words, work_bytes);
        let (status, execution) =
            execute(verified, &mut instance, &mut workspace, &event, &mut Scan { sites, io }).ok()?;
        (status == Status::Ok).then_some(execution.fuel)
    }
}

fn execute(
    verified: &Verified<'_>,
    instance: &mut Instance<'_>,
    workspace: &mut Workspace<'_>,
    event: &Event<'_>,
    host: &mut dyn Host,
) -> Result<(Status, Execution), Misfit> {
    let mut machine = Machine::new(verified, instance, workspace)?;
    let mut execution = machine.start(event)?;
    let status = machine.run(&mut execution, host);
    Ok((status, execution))
}

/// The inputs and outputs of one scan, as the program asks for them.
struct Scan<'s> {
    sites: &'s [Wired; SITES],
    io: &'s mut Io,
}

impl Scan<'_> {
    fn site(&self, call: &Call<'_>) -> Wired {
        self.sites.get(usize::from(call.index)).copied().unwrap_or(Wired::Nothing)
    }
}

fn numbers<const N: usize>(call: &Call<'_>) -> [i64; N] {
    let mut numbers = [0; N];
    for (place, value) in numbers.iter_mut().zip(call.args()) {
        if let Value::Int(number) = value {
            *place = number;
        }
    }
    numbers
}

impl Host for Scan<'_> {
    fn read(&mut self, call: Call<'_>, _: &mut [u8]) -> Reply {
        let reply = match self.site(&call) {
            Wired::ReadChannel => self.io.read_channel(numbers::<1>(&call)[0] as usize).map(Reply::Float),
            Wired::ReadPin => {
                self.io.read_pin(numbers::<1>(&call)[0] as usize).map(|level| Reply::Int(i64::from(level)))
            }
            Wired::ReadWord => {
                let [bus, address, register] = numbers(&call);
                self.io.read_word(bus, address, register).map(Reply::Int)
            }
            _ => None,
        };
        reply.unwrap_or(Reply::Failed)
    }

    fn act(&mut self, call: Call<'_>) {
        let [first, second] = numbers(&call);
        // A line that is not there: the caller sees that nothing was set.
        let _ = match self.site(&call) {
            Wired::SetPin => self.io.set_pin(first as usize, second != 0),
            Wired::WriteChannel => self.io.write_channel(first as usize, second),
            _ => Ok(()),
        };
    }
}
