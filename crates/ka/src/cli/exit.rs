//! How the program ends.

use std::process::ExitCode;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and the answer is good.
    Yes = 0,
    /// Done, and the answer is bad: a connection would not outlive the middlebox, a setting is wrong, a socket could
    /// not be changed.
    No = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Done as far as possible, and there is no answer.
    CannotTell = 3,
    /// We failed ourselves; as `ka-run` says it.
    Failure = 125,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
