//! What can go wrong in a kernel, free of Python.

use std::fmt;

/// A refusal by a kernel. Texts carry positions and bounds, never secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The element at this position is not a canonical ristretto255 encoding.
    Decode(usize),
    /// An argument breaks a rule; the text names the argument, what was expected and what came.
    Input(String),
    /// The operating system gave no randomness.
    Randomness(String),
    /// There is no memory for so many bytes.
    Memory(usize),
}

impl Fault {
    /// Shifts the position of a decoding fault by `by` elements.
    #[must_use]
    pub fn shifted(self, by: usize) -> Self {
        match self {
            Self::Decode(index) => Self::Decode(index + by),
            other => other,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(index) => write!(
                f,
                "element {index} is not a canonical ristretto255 encoding"
            ),
            Self::Memory(bytes) => write!(f, "there is no memory for {bytes} bytes"),
            Self::Input(text) | Self::Randomness(text) => f.write_str(text),
        }
    }
}
