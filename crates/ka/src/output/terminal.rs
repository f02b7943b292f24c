//! How wide the output may be, and whether in colours.

use std::env;
use std::io::{IsTerminal, stdout};

use clap::ValueEnum;
use rustix::termios::tcgetwinsize;

/// What the output has to fit.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// How many columns there are; `None`: as many as needed.
    pub width: Option<usize>,
    /// Whether colours are welcome.
    pub colours: bool,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that has colours, unless NO_COLOR is set (no-color.org).
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl Terminal {
    /// Standard output. COLUMNS goes before what the terminal says, and counts elsewhere, too.
    pub fn of_stdout(color: Color) -> Self {
        let is_terminal = stdout().is_terminal();
        let columns = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let size = || tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = columns.or_else(|| is_terminal.then(size).flatten());
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let colours = match color {
            Color::Auto => is_terminal && !dumb && !set("NO_COLOR"),
            Color::Always => true,
            Color::Never => false,
        };
        // A terminal of no width is one that does not know it, as that of a serial line.
        Self { width: width.filter(|&w| w > 0), colours }
    }
}
