//! The same program run in several ways at once, behind one firewall, and what becomes of each.

use std::fmt;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{PATIENCE, Preload, Result, Running};

/// A program hangs if it still waits so long after those beside it have completed. (It would for hours.)
const HANGS: Duration = Duration::from_secs(10);

/// A way of running a program, and how that has to end.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// With the library or without.
    pub preload: Preload,
    /// Whether the program then completes, instead of hanging or failing.
    pub survives: bool,
}

impl Way {
    /// Without the library, and so it dies.
    pub const WITHOUT: Self = Self::dies(Preload::No);

    /// With these settings it completes.
    pub const fn survives(preload: Preload) -> Self {
        Self { preload, survives: true }
    }

    /// With these settings it does not.
    pub const fn dies(preload: Preload) -> Self {
        Self { preload, survives: false }
    }
}

/// `without`, or the settings as one writes them before a command.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.preload {
            Preload::No => f.write_str("without"),
            Preload::With([]) => f.write_str("defaults"),
            Preload::With(settings) => {
                let settings: Vec<_> =
                    settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
                f.write_str(&settings.join(" "))
            }
        }
    }
}

/// What became of a program, and how long after the moment from which it was watched.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It did what it was to do.
    Completed(Duration),
    /// It ended otherwise, with these words.
    Failed(Duration, String),
    /// It still waited when it was given up.
    Hung(Duration),
}

impl Seen {
    /// Whether it did what it was to do.
    pub fn completed(&self) -> bool {
        matches!(self, Self::Completed(_))
    }
}

/// Watches programs until each that has to complete has done so, and then those that must not for [`HANGS`] more.
/// `done` tells whether a program, which has ended with this status if it has, did what it was to do, and fails if it
/// did so wrongly. The times count from `since`.
///
/// Fails unless all end as they have to.
pub fn watch(
    runs: &mut [(Way, Running)],
    since: Instant,
    done: impl Fn(&Running, Option<ExitStatus>) -> Result<bool>,
) -> Result<Vec<Seen>> {
    let mut ends: Vec<Option<Seen>> = vec![None; runs.len()];
    let mut hangs = Instant::now().max(since) + HANGS;
    while ends.iter().any(Option::is_none) {
        for ((way, program), end) in runs.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
            // In this order: what it did last of all still counts.
            let ended = program.ended()?;
            let completed = done(program, ended)?;
            let after = since.elapsed();
            if completed {
                *end = Some(Seen::Completed(after));
                hangs = hangs.max(Instant::now() + HANGS);
            } else if let Some(status) = ended {
                *end = Some(Seen::Failed(after, last_words(program, status)));
            } else if after > PATIENCE || !way.survives && Instant::now() > hangs {
                *end = Some(Seen::Hung(after));
            }
        }
        sleep(Duration::from_millis(5));
    }
    let ends: Vec<Seen> = ends.into_iter().flatten().collect();
    let mut wrong = String::new();
    for ((way, program), end) in runs.iter().zip(&ends) {
        if way.survives != end.completed() {
            let want = if way.survives { "has to complete" } else { "has to fail" };
            let (said, complained) =
                (String::from_utf8_lossy(&program.stdout()).into_owned(), program.stderr());
            wrong += &format!("{way}: {want}, but: {end:?}\n{said}{complained}\n");
        }
    }
    if wrong.is_empty() { Ok(ends) } else { Err(wrong.into()) }
}

fn last_words(program: &Running, status: ExitStatus) -> String {
    let said = program.stderr();
    said.lines().rev().find(|line| !line.trim().is_empty()).map_or_else(|| status.to_string(), str::to_owned)
}
