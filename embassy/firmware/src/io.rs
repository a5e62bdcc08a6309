//! Inputs and outputs by the names and numbers that programs use.

/// Where a named pin is.
#[derive(Clone, Copy)]
pub enum Line {
    /// An output, by its place.
    Output(u8),
    /// An input, by its place.
    Input(u8),
}

/// What an output does when nothing commands it.
#[derive(Clone, Copy)]
pub struct OutputInfo {
    /// Its level at boot and after a fault.
    pub safe_high: bool,
    /// Whether it goes there too when the link is lost.
    pub safe_on_link_loss: bool,
}
