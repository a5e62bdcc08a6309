//! What an execution asks of its host, and what it hands over.

use crate::site::Site;
use crate::value::{Texts, Value};

/// What the host answers to a read or LLM call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply {
    /// A truth value.
    Bool(bool),
    /// An int, duration (us), enum ordinal or pin index.
    Int(i64),
    /// A float.
    Float(f64),
    /// So many bytes of text, valid UTF-8, were written.
    Text(usize),
    /// It failed, its retries used up.
    Failed,
    /// The answer is not there yet: the execution is suspended, and asks again when it is run again.
    Pending,
}

/// The world as programs see it.
pub trait Host {
    /// Answer LOAD_RESOURCE or LLM_CALL. A text goes into `text`, which has room for the longest that may be answered.
    ///
    /// An answer of another type than the site declares, or out of its range, counts as failed.
    fn read(&mut self, call: Call<'_>, text: &mut [u8]) -> Reply;

    /// Take an action or an event of an execution that ended well, in order, just before its state is committed.
    fn act(&mut self, call: Call<'_>);
}

/// One call at a site, with its arguments.
#[derive(Clone, Copy)]
pub struct Call<'c> {
    pub(crate) site: &'c Site<'c>,
    pub(crate) words: &'c [u64],
    pub(crate) texts: Texts<'c>,
    /// Index of the site.
    pub index: u16,
}

impl<'c> Call<'c> {
    /// The site: kind, types, capability.
    pub fn site(&self) -> Option<&'c Site<'c>> {
        Some(self.site)
    }

    /// The arguments in order.
    pub fn args(&self) -> impl Iterator<Item = Value<'c>> + use<'_, 'c> {
        let typed = |(index, word): (usize, &u64)| self.texts.value(self.site.arg_type(index), *word);
        self.words.iter().enumerate().map(typed)
    }
}
