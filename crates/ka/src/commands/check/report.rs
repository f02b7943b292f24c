//! What is said, and how it ends.

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::output::print::print;

/// Lines, and what they amount to.
#[derive(Debug, Default)]
pub struct Report {
    text: String,
    /// The library does not reach the command.
    not_reached: bool,
    /// It cannot be told.
    unsure: bool,
    /// Something is wrong with the settings.
    wrong: bool,
}

impl Report {
    /// A line that stands at the margin.
    pub fn line(&mut self, words: &str) {
        self.text.push_str(words);
        self.text.push('\n');
    }

    /// A line below it.
    pub fn row(&mut self, name: &str, words: &str) {
        self.text.push_str(&format!("  {name:<10}{words}\n"));
    }

    /// Something that is wrong with the settings.
    pub fn error(&mut self, words: &str) {
        self.wrong = true;
        self.row("error", words);
    }

    /// The line that says so.
    pub fn not_reached(&mut self, words: &str) {
        self.not_reached = true;
        self.line(words);
    }

    /// The line that says so.
    pub fn unsure(&mut self, words: &str) {
        self.unsure = true;
        self.line(words);
    }

    /// Whether nothing has been said to the contrary.
    pub fn is_reached(&self) -> bool {
        !self.not_reached && !self.unsure
    }

    /// Prints it.
    pub fn write(self) -> Result<Exit, Error> {
        print(&self.text)?;
        Ok(match self {
            Self { wrong: true, .. } => Exit::No,
            Self { unsure: true, .. } => Exit::CannotTell,
            Self { not_reached: true, .. } => Exit::No,
            _ => Exit::Yes,
        })
    }
}
