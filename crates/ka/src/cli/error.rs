//! Why the program gives up.

use std::fmt;

use crate::cli::exit::Exit;

/// What is wrong, where, and what to do about it, in one line that is fit for a terminal.
#[derive(Debug)]
pub struct Error {
    text: String,
    exit: Exit,
}

impl Error {
    /// Something does not work.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: Exit::Failure }
    }

    /// The command line makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: Exit::Usage }
    }

    /// The exit status.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
