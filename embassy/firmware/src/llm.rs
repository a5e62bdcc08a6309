//! Questions for the language model of the gateway: asked in pieces, again every two seconds, until an answer or the time
//! is up. docs/serial-link.md, Language models.

use eyeflow_link::Unasked;
use eyeflow_state::put;
use eyeflow_svm::{Call, Execution, Reply};

use crate::call::{PIECE_BYTES_MAX, send};
use crate::outbox::Outbox;

/// The longest answer: what fits a frame behind number and status.
const ANSWER_BYTES_MAX: usize = 126;
const AGAIN_US: u64 = 2_000_000;
/// Of a call without a timeout.
const TIMEOUT_US: u64 = 60_000_000;
const TEXT: u8 = 0;
const NUMBER: u8 = 2;

/// An execution that waits, and what started it.
pub struct Pending {
    pub place: u8,
    pub trigger: u8,
    pub execution: Execution,
}

/// The question that is out, if any. One at a time.
pub struct Llm {
    pub pending: Option<Pending>,
    pub now_us: u64,
    number: u8,
    waiting: bool,
    tries: u8,
    until_us: u64,
    /// The next piece, and when to send it.
    offset: usize,
    next_us: u64,
    /// Bytes of the answer, with its status in front; 0: not there yet.
    length: usize,
    answer: [u8; 1 + ANSWER_BYTES_MAX],
}

impl Llm {
    /// Nothing asked yet. Numbers go on from one that differs at each boot.
    pub const fn new(number: u8) -> Self {
        Self {
            pending: None,
            now_us: 0,
            number,
            waiting: false,
            tries: 0,
            until_us: 0,
            offset: 0,
            next_us: 0,
            length: 0,
            answer: [0; 1 + ANSWER_BYTES_MAX],
        }
    }

    /// Forget the question and who waits for it.
    pub fn forget(&mut self) {
        self.pending = None;
        self.waiting = false;
    }

    /// Take an answer. One to another question, or a second one, is too late.
    pub fn take(&mut self, number: u8, status: u8, answer: &[u8]) {
        if self.waiting && self.length == 0 && number == self.number {
            let mut at = 0;
            let fits = put(&mut self.answer, &mut at, &[status]) && put(&mut self.answer, &mut at, answer);
            self.length = if fits { at } else { 0 };
        }
    }

    /// Answer an LLM_CALL, or go on waiting.
    pub fn ask(&mut self, call: &Call<'_>, place: u8, text: &mut [u8], outbox: &mut Outbox) -> Option<Reply> {
        let site = call.site()?;
        if !self.waiting {
            self.tries = site.retries;
            self.start(site.names()?.timeout_us);
        }
        if self.length > 0 || self.now_us >= self.until_us {
            if let Some(reply) = self.reply(text) {
                self.waiting = false;
                return Some(reply);
            }
            if self.tries == 0 {
                self.waiting = false;
                return None;
            }
            self.tries -= 1;
            self.start(site.names()?.timeout_us);
        }
        if self.now_us >= self.next_us {
            self.send(call, place, outbox);
        }
        Some(Reply::Pending)
    }

    fn start(&mut self, timeout_us: u64) {
        self.number = self.number.wrapping_add(1);
        self.waiting = true;
        self.until_us = self.now_us.saturating_add(if timeout_us == 0 { TIMEOUT_US } else { timeout_us });
        (self.offset, self.next_us, self.length) = (0, self.now_us, 0);
    }

    /// What the answer says; nothing when there is none, or the model failed.
    fn reply(&self, text: &mut [u8]) -> Option<Reply> {
        let (status, answer) = self.answer.get(..self.length)?.split_first()?;
        match *status {
            TEXT => {
                let place = text.get_mut(..answer.len())?;
                place.iter_mut().zip(answer).for_each(|(to, from)| *to = *from);
                Some(Reply::Text(answer.len()))
            }
            NUMBER => answer.first_chunk().map(|number| Reply::Int(i64::from_le_bytes(*number))),
            _ => None,
        }
    }

    /// Send the next piece of the question.
    fn send(&mut self, call: &Call<'_>, place: u8, outbox: &mut Outbox) {
        let length = send(Unasked::LlmRequest, call, self.number, place, self.offset, outbox);
        self.offset += PIECE_BYTES_MAX;
        if self.offset >= length {
            (self.offset, self.next_us) = (0, self.now_us + AGAIN_US);
        }
    }
}
