//! Memory that lasts as long as the board runs.

/// A static value, for whoever takes it. Each use is reached once, while the board is set up.
///
/// What has to be said only once is that `static mut` is right here: there is one core, and nothing but `main` before its
/// loop comes here. A cell with a flag would cost 30 bytes of flash each, 60 on a core without atomic operations.
macro_rules! once {
    ($type:ty = $start:expr) => {{
        static mut MEMORY: $type = $start;
        // SAFETY: see above: this is the only reference.
        unsafe { &mut *core::ptr::addr_of_mut!(MEMORY) }
    }};
}

pub(crate) use once;
