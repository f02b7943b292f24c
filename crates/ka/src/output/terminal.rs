//! Whether and how standard output is a terminal.

use std::env;
use std::io::{IsTerminal, stdout};

use rustix::termios::tcgetwinsize;

/// What the output has to fit.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// How many columns there are; `None`: as many as needed.
    pub width: Option<usize>,
    /// Whether colours are welcome.
    pub colours: bool,
}

impl Terminal {
    /// Standard output.
    pub fn of_stdout() -> Self {
        if !stdout().is_terminal() {
            return Self { width: None, colours: false };
        }
        let width = tcgetwinsize(stdout()).map(|size| usize::from(size.ws_col)).ok();
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        // A terminal of no width is one that does not know it, as that of a serial line.
        Self { width: width.filter(|&w| w > 0), colours: !dumb && !set("NO_COLOR") }
    }
}
