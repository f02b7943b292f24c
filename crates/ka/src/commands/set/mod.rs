//! `ka set`: changes the sockets of a running process.

pub mod args;
mod change;
mod config;
mod sweep;

use std::collections::BTreeSet;
use std::io::{Write, stderr, stdout};
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kashim_policy::keepalive::{Defaults, Interval, Values};
use kashim_policy::line::Line;
use kashim_policy::warning;
use rustix::io::Errno;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::selector::Selector;
use crate::output::escape::escaped;
use crate::process::caller::ignore_sigpipe;
use crate::process::denial::{Access, Denial};
use crate::process::netns;
use crate::process::pidfd::{Process, allow_many_descriptors};
use crate::process::scan;
use crate::process::signals::Stop;
use crate::tcp::defaults;
use crate::tcp::options::Options;
use config::Config;
use sweep::{Done, Late, Outcome, Sweeper};

/// Changes the connections that were selected.
pub fn run(args: args::SetArgs) -> Result<Exit, Error> {
    let config = Config::try_from(args)?;
    allow_many_descriptors();
    let mut sweepers = Vec::new();
    let all = scan::all();
    let mut chosen = BTreeSet::new();
    for selector in &config.selectors {
        for pid in selector.find(&all)? {
            if !chosen.insert(pid) {
                continue;
            }
            if let Some(process) = open(selector, pid)? {
                let kernel = kernel(&config, pid)?;
                sweepers.push(Sweeper::new(process, kernel));
            }
        }
    }
    // Who reads only the first lines does not stop it halfway.
    ignore_sigpipe();
    // Before anything is changed: who stops it shall hear what was.
    let stop = config.follow.then(Stop::listen).transpose();
    let stop = stop.map_err(|error| Error::new(format!("cannot wait for signals: {error}")))?;
    let mut summary = Summary::default();
    sweepers.retain_mut(|sweeper| summary.sweep(sweeper, &config));
    if let Some(stop) = &stop {
        follow(&mut sweepers, &config, &mut summary, stop);
    }
    summary.print(&config);
    if summary.unread {
        return Err(Error::new(
            "standard output did not take all of the report; everything was done all the same",
        ));
    }
    Ok(if summary.refused || summary.found() == 0 { Exit::No } else { Exit::Yes })
}

/// The process, if it is still the one that was selected.
fn open(selector: &Selector, pid: i32) -> Result<Option<Process>, Error> {
    let process = match Process::open(pid) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => {
            let rule = Denial::diagnose(error, pid, Access::Attach);
            return Err(Error::new(format!(
                "{pid}: cannot take hold of the process: {}",
                rule.map_or_else(|| error.to_string(), |rule| rule.to_string())
            )));
        }
    };
    // The number could have been given to another process since it was looked up.
    let is_meant = match selector {
        Selector::Pid(_) => true,
        Selector::Name(name) => scan::is_called(pid, name.as_bytes()),
    };
    Ok((is_meant && process.is_alive()).then_some(process))
}

/// What an untouched socket of the process shows, if that matters.
fn kernel(config: &Config, pid: i32) -> Result<Defaults, Error> {
    if !config.change.needs_kernel_defaults() {
        return Ok(Defaults::LINUX);
    }
    let read = || defaults::read().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    let ours = scan::network_namespace("self").ok();
    let task = scan::living_task(pid);
    let defaults = match scan::network_namespace(&task.to_string()) {
        Ok(theirs) if Some(theirs) != ours => {
            scan::open_network_namespace(task).and_then(|namespace| netns::within(namespace.as_fd(), read))
        }
        _ => read(),
    };
    defaults.map_err(|error| {
        Error::new(format!(
            "{pid}: cannot read the kernel's own values in its network namespace ({error}); give a number in place of \
             system"
        ))
    })
}

/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again, until all processes have ended, or a signal says so. At most a twentieth of the time is spent
/// looking.
fn follow(sweepers: &mut Vec<Sweeper>, config: &Config, summary: &mut Summary, stop: &Stop) {
    let mut cost = Duration::ZERO;
    while let Some(first) = sweepers.first() {
        // A signal ends the wait, too.
        first.process().ends_within(PAUSE.max(19 * cost));
        if stop.asked() {
            return;
        }
        let start = Instant::now();
        sweepers.retain_mut(|sweeper| summary.sweep(sweeper, config) && sweeper.process().is_alive());
        cost = start.elapsed();
    }
}

/// What was done so far.
#[derive(Debug, Default)]
struct Summary {
    /// Something of the report could not be written.
    unread: bool,
    changed: u32,
    as_wanted: u32,
    not_changed: u32,
    /// A process could not be changed at all.
    refused: bool,
    /// For each socket that was opened, or got its peer, later: the longest time that it can have been without.
    late: Vec<Duration>,
    warned: BTreeSet<Vec<u8>>,
}

impl Summary {
    fn found(&self) -> u32 {
        self.changed + self.as_wanted + self.not_changed
    }

    /// One look at a process. Whether to look again.
    fn sweep(&mut self, sweeper: &mut Sweeper, config: &Config) -> bool {
        let pid = sweeper.process().pid;
        let name = scan::name(pid).unwrap_or_default();
        let name = escaped(&name);
        let swept = sweeper.sweep(config, &mut |done| self.tell(&format!("{name}[{pid}]"), config, &done));
        if let Err(rule) = swept {
            self.refused = true;
            say(&mut stderr(), &format!("ka: error: {pid} ({name}): cannot access its sockets: {rule}"));
        }
        swept.is_ok()
    }

    fn tell(&mut self, process: &str, config: &Config, done: &Done) {
        let Done { fd, place, before, outcome, late } = done;
        let what = match outcome {
            Outcome::AsWanted => {
                self.as_wanted += 1;
                format!("{before}, as wanted")
            }
            Outcome::Changed(after) => {
                self.changed += 1;
                let word = if config.dry_run { "would be" } else { "now" };
                format!("{before}, {word} {after}")
            }
            Outcome::Refused(refused, after) => {
                self.not_changed += 1;
                self.refused = true;
                let refused: Vec<_> =
                    refused.iter().map(|(name, error)| format!("{name} ({error})")).collect();
                let became = if before == after { "unchanged".to_owned() } else { format!("now {after}") };
                format!("{before}, {became}; refused by the system: {}", refused.join(", "))
            }
        };
        let when = match *late {
            None => String::new(),
            Some(Late::Opened(late)) => {
                self.late.push(late);
                format!(" (at most {} ms after it was opened)", late.as_millis())
            }
            Some(Late::Connected(late)) => {
                self.late.push(late);
                format!(" (at most {} ms after it was connected)", late.as_millis())
            }
        };
        self.unread |= !say(&mut stdout(), &format!("{process} fd {fd}, {place}: {what}{when}"));
        if let Outcome::Changed(after) = outcome {
            self.warn(after);
        }
    }

    /// Names what is dangerous about values, once.
    fn warn(&mut self, options: &Options) {
        let number = |n: u32| u16::try_from(n).ok().and_then(NonZeroU16::new);
        let values = Values {
            idle: number(options.idle),
            interval: number(options.interval).map_or(Interval::System, Interval::Seconds),
            count: number(options.count),
            ..Values::DEFAULT
        };
        for warning in warning::of(&values).into_iter().flatten().filter(|_| options.on) {
            let mut line = Line::EMPTY;
            warning.write(&mut line);
            if self.warned.insert(line.as_bytes().to_owned()) {
                say(&mut stderr(), &format!("ka: warning: {}", escaped(line.as_bytes())));
            }
        }
    }

    fn print(&mut self, config: &Config) {
        if self.found() == 0 {
            if !self.refused {
                say(&mut stderr(), "ka: no TCP socket of these processes matches; ka status lists them");
            }
            return;
        }
        let verb = if config.dry_run { "would be changed" } else { "changed" };
        let mut text = format!("{} {verb}, {} already as wanted", self.changed, self.as_wanted);
        if self.not_changed > 0 {
            text += &format!(", {} refused", self.not_changed);
        }
        if let Some(longest) = self.late.iter().max() {
            text += &format!(
                "; {} opened or connected later, each set at most {} ms after that",
                self.late.len(),
                longest.as_millis()
            );
        }
        self.unread |= !say(&mut stdout(), &text);
    }
}

/// Writes a line at once, and tells whether that worked. That nobody reads it is no reason to stop changing sockets.
fn say(out: &mut impl Write, line: &str) -> bool {
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::open;
    use crate::cli::selector::Selector;

    /// Between the look at the names and the opening of the process its number can have been given away.
    #[test]
    fn the_name_is_looked_at_again_once_the_process_is_held() {
        let us = i32::try_from(std::process::id()).unwrap();
        assert!(open(&Selector::Pid(us), us).unwrap().is_some());
        assert!(open(&Selector::Name("of-somebody-else".to_owned()), us).unwrap().is_none());
    }
}
