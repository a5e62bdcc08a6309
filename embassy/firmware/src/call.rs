//! A call of a rule on its way to the gateway, in pieces. docs/serial-link.md, Language models and Events.

use eyeflow_link::Unasked;
use eyeflow_state::{put, put_value};
use eyeflow_svm::Call;

use crate::outbox::Outbox;

/// Bytes of the arguments in one frame, behind number, place, site, offset and length.
pub const PIECE_BYTES_MAX: usize = 120;
const HEAD_BYTES: usize = 8;
/// The longest arguments that are sent: two texts and a number, with their types.
const ARGUMENTS_BYTES_MAX: usize = 2 * 257 + 9;

/// Send the piece of a call's arguments that begins at `offset`; returns the bytes of all of them.
#[cfg_attr(feature = "events", inline(never))]
pub fn send(kind: Unasked, call: &Call<'_>, number: u8, place: u8, offset: usize, outbox: &mut Outbox) -> usize {
    let mut arguments = [0; ARGUMENTS_BYTES_MAX];
    let mut length = 0;
    for value in call.args() {
        put(&mut arguments, &mut length, &[value.value_type() as u8]);
        put_value(&mut arguments, &mut length, value);
    }
    let piece = arguments.get(offset..length.min(ARGUMENTS_BYTES_MAX)).unwrap_or(&[]);
    let piece = piece.get(..PIECE_BYTES_MAX).unwrap_or(piece);
    let mut payload = [0; HEAD_BYTES + PIECE_BYTES_MAX];
    let mut at = 0;
    put(&mut payload, &mut at, &[number, place]);
    for number in [call.index, offset as u16, length as u16] {
        put(&mut payload, &mut at, &number.to_le_bytes());
    }
    put(&mut payload, &mut at, piece);
    let payload = payload.get(..at).unwrap_or(&[]);
    eyeflow_link::send(kind as u8, 0, payload, &mut |frame| outbox.push(frame));
    length
}
