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
    /// We failed ourselves, or refuse, so that a status of the command's own can be told from it.
    Failure = 125,
    /// The command cannot be executed; as execvp(3) and every shell say it.
    CannotExecute = 126,
    /// There is no such command.
    NotFound = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
