//! A site as a view over its bytes: a place where a program meets the world.

use crate::reader::Reader;
use crate::structure::SITE_BYTES;
use crate::types::{ENUM, Scalar, TEXT, value_type_of};
use crate::value::ValueType;

/// What a site does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SiteKind {
    /// LOAD_RESOURCE.
    Read = 0,
    /// CALL_ACTION.
    Act = 1,
    /// LLM_CALL.
    Llm = 2,
    /// EMIT_EVENT.
    Emit = 3,
}

impl SiteKind {
    pub(crate) const fn of(code: u8) -> Self {
        match code & 3 {
            0 => Self::Read,
            1 => Self::Act,
            2 => Self::Llm,
            _ => Self::Emit,
        }
    }
}

pub(crate) const ABORT: u8 = 0;
pub(crate) const SKIP: u8 = 1;
pub(crate) const FALLBACK: u8 = 2;

/// One place where a program meets the world.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// What it does.
    pub kind: SiteKind,
    pub(crate) on_failure: u8,
    /// How often the host tries again.
    pub retries: u8,
    /// Whether repeating the same value changes nothing.
    pub level: bool,
    /// Fuel.
    pub cost: u16,
    /// Number of arguments.
    pub args: u8,
    pub(crate) has_result: bool,
    /// The tags of its arguments and what follows them, in the bytes of the program.
    rest: &'a [u8],
}

/// What a host needs to know of a site beside its kind and types.
#[derive(Clone, Copy)]
pub struct SiteNames<'a> {
    /// Wait before the first retry, us.
    pub backoff_us: u64,
    /// When the host gives up, us; 0: never.
    pub timeout_us: u64,
    /// The capability, or the name of the event.
    pub capability: &'a [u8],
    /// The key of the physical resource, with `{argument}` holes.
    pub resource: &'a [u8],
}

impl<'a> Site<'a> {
    /// The site of an entry: its head, and the bytes behind that.
    pub(crate) fn of(head: [u8; SITE_BYTES], rest: &'a [u8]) -> Self {
        let [kind, on_failure, retries, flags, low, high, args, has_result] = head;
        Self {
            kind: SiteKind::of(kind),
            on_failure,
            retries,
            level: flags != 0,
            cost: u16::from_le_bytes([low, high]),
            args,
            has_result: has_result != 0,
            rest,
        }
    }

    /// The capability, or the name of the event.
    pub fn capability(&self) -> &'a [u8] {
        name_at(self.rest, usize::from(self.args))
    }

    /// The type of the slot that an argument comes from.
    pub fn arg_type(&self, index: usize) -> ValueType {
        value_type_of(self.rest.get(index).copied().unwrap_or(0))
    }

    /// Where the type of the result stands, or what follows it.
    fn result_at(&self) -> usize {
        let resource = usize::from(self.args) + 1 + self.capability().len();
        resource + 1 + name_at(self.rest, resource).len()
    }

    /// What a site answers that has a result.
    pub(crate) fn result(&self) -> Scalar {
        let mut at = self.result_at();
        let byte = |at: usize| u16::from(self.rest.get(at).copied().unwrap_or(0));
        let tag = byte(at) as u8;
        let max = match tag {
            TEXT => byte(at + 1) | byte(at + 2) << 8,
            ENUM => {
                at += 2 + name_at(self.rest, at + 1).len();
                byte(at)
            }
            _ => 0,
        };
        Scalar::tagged(tag, max)
    }

    /// Whether the execution, or what follows an action, ends when this fails for good: the default.
    pub fn aborts(&self) -> bool {
        self.on_failure == ABORT
    }

    /// What stands behind the types; nothing of a site whose bytes are not those of a decoded program.
    pub fn names(&self) -> Option<SiteNames<'a>> {
        let mut reader = Reader::new(self.rest, 0, 0, false);
        let tags = reader.take(usize::from(self.args));
        let (capability, resource) = (reader.name(), reader.name());
        if self.has_result {
            reader.scalar();
        }
        for tag in tags {
            reader.detail(*tag);
        }
        let names = SiteNames { backoff_us: reader.number(8), timeout_us: reader.number(8), capability, resource };
        reader.is_right().then_some(names)
    }
}

/// The name that stands at `at`, its length byte in front.
#[inline(never)]
fn name_at(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let Some((size, rest)) = rest.split_first() else { return &[] };
    rest.get(..usize::from(*size)).unwrap_or(&[])
}
