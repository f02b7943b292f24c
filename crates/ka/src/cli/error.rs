//! Why the program gives up.

use std::fmt;

use crate::cli::exit::Exit;

/// What is wrong, where, and what to do about it, in lines that are fit for a terminal.
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

    /// There is a command, and it may not be executed.
    pub fn cannot_execute(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: Exit::CannotExecute }
    }

    /// There is no such command, or something that it cannot run without.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: Exit::NotFound }
    }

    /// The same where 2 is a status of the command that is run.
    pub fn without_usage(self) -> Self {
        let exit = if self.exit == Exit::Usage { Exit::Failure } else { self.exit };
        Self { exit, ..self }
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
