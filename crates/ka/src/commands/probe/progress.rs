//! A line on the terminal that shows how far it is; nothing where standard error is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The line.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// For something that takes so long at most.
    pub fn new(longest: Duration) -> Self {
        let bar = ProgressBar::with_draw_target(Some(longest.as_secs()), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  silent for {pos} of {len} s [{bar:30}]") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// So much time has passed.
    pub fn at(&self, passed: Duration) {
        self.0.set_position(passed.as_secs());
    }

    /// Takes the line away while something else is written.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
