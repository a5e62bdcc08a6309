//! Whatever is decompressed, never more comes out than was announced, and in pieces the same as at once.
#![no_main]

use eyeflow_link::{Broken, History, Lz};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Memory(Vec<u8>);

impl History for Memory {
    fn put(&mut self, byte: u8) -> Result<(), Broken> {
        self.0.push(byte);
        Ok(())
    }

    fn get(&self, position: u32) -> Option<u8> {
        self.0.get(position as usize).copied()
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[low, high, flags], bytes)) = data.split_first_chunk::<3>() else {
        return;
    };
    let size = u32::from(u16::from_le_bytes([low, high]));
    let fresh = || (Lz::new(size, flags & 1 == 1), Memory::default());
    let (mut whole, mut all) = fresh();
    let at_once = whole.feed(bytes, true, &mut all);
    assert!(all.0.len() as u32 <= size);
    let (mut parts, mut some) = fresh();
    let cut = usize::from(flags).min(bytes.len());
    let in_pieces =
        parts.feed(&bytes[..cut], false, &mut some).and_then(|()| parts.feed(&bytes[cut..], true, &mut some));
    assert_eq!(at_once, in_pieces);
    if at_once.is_ok() {
        assert_eq!(all.0, some.0);
        assert_eq!(all.0.len() as u32, size);
    }
});
