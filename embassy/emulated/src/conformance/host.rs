//! A host that answers by the script of a case and writes down what it is asked and told.

use eyeflow_svm::{Call, Host, Reply, Value};

use crate::wire::{Reader, Writer};

const ASKED: u8 = b'?';
const ACTED: u8 = b'!';

/// Answers reads with the values that the case has next; none left fails the read.
pub struct Scripted<'h, 'c, 'r> {
    pub answers: u16,
    pub case: &'h mut Reader<'c>,
    pub out: &'h mut Writer<'r>,
}

impl Scripted<'_, '_, '_> {
    fn answer(&mut self) -> Option<Value<'_>> {
        self.answers = self.answers.checked_sub(1)?;
        self.case.value()
    }

    /// Pass over the answers that nobody asked for.
    pub fn skip_unread(&mut self) {
        while self.answers > 0 {
            self.answer();
        }
    }

    fn write(&mut self, kind: u8, call: &Call<'_>) {
        self.out.put(&[kind]);
        self.out.u16(call.index);
        self.out.u16(call.args().count() as u16);
        call.args().for_each(|value| self.out.value(value));
    }
}

impl Host for Scripted<'_, '_, '_> {
    fn read(&mut self, call: Call<'_>, text: &mut [u8]) -> Reply {
        self.write(ASKED, &call);
        match self.answer() {
            None => Reply::Failed,
            Some(Value::Bool(value)) => Reply::Bool(value),
            Some(Value::Int(value)) => Reply::Int(value),
            Some(Value::Float(value)) => Reply::Float(value),
            Some(Value::Text(value)) => {
                text.iter_mut().zip(value).for_each(|(place, byte)| *place = *byte);
                Reply::Text(value.len())
            }
        }
    }

    fn act(&mut self, call: Call<'_>) {
        self.write(ACTED, &call);
    }
}
