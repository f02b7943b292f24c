//! Third: what all of that comes to, once for the table, the JSON and the exit status.

use super::collect::{Collection, Found, Holder, ProcessSockets};
use super::config::IdleTimeout;
use super::outlives::{Answer, Outlives, outlives};
use super::read::{Missing, OptionsRead};
use crate::cli::exit::Exit;
use crate::process::scan;
use crate::tcp::options::Options;
use crate::tcp::sock_diag::{Sock, Timer};
use crate::tcp::state::State;

/// What SO_KEEPALIVE is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// On.
    On,
    /// Off.
    Off,
    /// Hidden behind another timer.
    Busy,
    /// Not to be known without the socket's options.
    Unknown,
}

/// A connection or a listener, with all that is said about it.
#[derive(Debug)]
pub struct Row {
    /// What was found.
    pub found: Found,
    /// What it is set to.
    pub options: Result<Options, Missing>,
    /// Whether keepalive is on.
    pub keepalive: Keepalive,
    /// Whether it outlives the middlebox, if one was named and it is a connection.
    pub outlives: Option<Outlives>,
}

/// Everything that is to be shown.
#[derive(Debug)]
pub struct Report {
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
    /// Who holds them, and what could not be seen.
    pub all: Collection,
    /// By process: whether the library is in it, if that may be seen, and if it is shown.
    preloaded: Vec<Option<bool>>,
}

/// Puts together what was found and read. What was closed meanwhile is not shown.
pub fn assess(mut all: Collection, read: Vec<OptionsRead>, box_timeout: Option<IdleTimeout>) -> Report {
    let found = std::mem::take(&mut all.found);
    let rows: Vec<Row> = found
        .into_iter()
        .zip(read)
        .filter_map(|(found, read)| {
            let options = match read {
                OptionsRead::Known(options) => Ok(options),
                OptionsRead::Missing(missing) => Err(missing),
                OptionsRead::Closed => return None,
            };
            let Sock { state, timer, .. } = found.sock;
            Some(Row {
                keepalive: keepalive(options.ok(), timer, state),
                outlives: box_timeout
                    .and_then(|it| outlives(state, timer, options.ok().as_ref(), it.timeout)),
                found,
                options,
            })
        })
        .collect();
    let mut preloaded = vec![None; all.processes.len()];
    for row in &rows {
        for holder in all.holders(&row.found.holders) {
            if let (Some(place @ None), Some(process)) =
                (preloaded.get_mut(holder.process), all.process(holder))
            {
                *place = Some(scan::is_preloaded(process.pid));
            }
        }
    }
    let preloaded = preloaded.into_iter().map(Option::flatten).collect();
    Report { rows, all, preloaded }
}

/// From the socket itself, else from the timer that runs.
fn keepalive(options: Option<Options>, timer: Timer, state: State) -> Keepalive {
    match (options, timer, state) {
        (Some(options), ..) => {
            if options.on {
                Keepalive::On
            } else {
                Keepalive::Off
            }
        }
        (None, Timer::Keepalive { .. }, _) => Keepalive::On,
        // No timer runs on these, on or off.
        (None, Timer::Unknown { .. }, _) | (None, _, State::LISTEN) => Keepalive::Unknown,
        (None, Timer::Busy, _) => Keepalive::Busy,
        (None, Timer::None, _) => Keepalive::Off,
    }
}

impl Report {
    /// Who holds the socket; the first is the one that it is shown under.
    pub fn holders(&self, row: &Row) -> &[Holder] {
        self.all.holders(&row.found.holders)
    }

    /// The process of a holder.
    pub fn process(&self, holder: &Holder) -> Option<&ProcessSockets> {
        self.all.process(holder)
    }

    /// Whether the library is in the process of a holder; nothing if that may not be seen.
    pub fn preloaded(&self, holder: &Holder) -> Option<bool> {
        self.preloaded.get(holder.process).copied().flatten()
    }

    /// Whether an attachment (`ka attach`) serves a socket; nothing if that may not be seen.
    pub fn attached(&self, row: &Row) -> Option<bool> {
        let served = self.all.served.as_ref()?;
        // Where nothing is attached, nothing is to be told apart.
        if served.is_empty() {
            return Some(false);
        }
        Some(served.contains(&row.found.sock.cgroup?))
    }

    /// The answer for all connections together: the worst of them, and what could not be looked into is no good news.
    pub fn exit(&self, asked: bool) -> Exit {
        let answers = || self.rows.iter().filter_map(|row| row.outlives).map(Outlives::answer);
        if !asked {
            Exit::Yes
        } else if answers().any(|answer| answer == Answer::No) {
            Exit::No
        } else if self.all.incomplete || answers().any(|answer| answer == Answer::CannotTell) {
            Exit::CannotTell
        } else {
            Exit::Yes
        }
    }
}

impl Row {
    /// Milliseconds until the next probe.
    pub fn next_probe(&self) -> Option<u32> {
        match self.found.sock.timer {
            Timer::Keepalive { next, .. } => Some(next),
            _ => None,
        }
    }

    /// How many probes went unanswered.
    pub fn unanswered(&self) -> Option<u8> {
        match self.found.sock.timer {
            Timer::Keepalive { unanswered, .. } | Timer::Unknown { unanswered }
                if !self.found.sock.listens() =>
            {
                Some(unanswered)
            }
            _ => None,
        }
    }
}
