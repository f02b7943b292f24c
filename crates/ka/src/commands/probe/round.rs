//! Many connections side by side.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::{CONNECTS_WITHIN, Connection, Failure, Observation, Outcome};
use crate::process::signals::Stop;

/// How often a silent connection is looked at, and one that is being asked.
const LOOKS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(20)];

/// What happens meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something became clear.
    Seen(&'a Observation),
    /// So much time has passed.
    Passed(Duration),
}

/// What a round has brought.
#[derive(Debug, Default)]
pub struct Round {
    /// What was seen, in the order in which it was.
    pub observations: Vec<Observation>,
    /// Why connections could not be made.
    pub failures: Vec<Failure>,
}

/// Whether a connection that keepalive does not leave silent for that long comes to an end as well.
pub fn kept_alive_ends(address: SocketAddr, silence: Duration, stop: &Stop) -> Result<bool, Failure> {
    let begin = Instant::now();
    let mut connection = Connection::open(address, Duration::from_secs(3600))?;
    let mut kept = false;
    while begin.elapsed() < CONNECTS_WITHIN + silence.mul_f64(1.5) && !stop.asked() {
        let ready = wait(std::slice::from_ref(&connection))?;
        if let Some(seen) = connection.look(ready.first().copied().unwrap_or(PollFlags::empty()))? {
            return Ok(seen.outcome.is_end());
        }
        if connection.is_silent() && !kept {
            connection.keep_alive(Duration::from_secs((silence.as_secs() / 4).max(1)))?;
            kept = true;
        }
    }
    Ok(false)
}

/// Connects once, if that takes no longer than `patience`, and tells how long it took.
pub fn reach(address: SocketAddr, patience: Duration, stop: &Stop) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let mut connection = Connection::open(address, Duration::from_secs(3600))?;
    while !connection.is_made() {
        if stop.asked() {
            return Err(Errno::INTR);
        }
        if begin.elapsed() > patience {
            return Err(Errno::TIMEDOUT);
        }
        let ready = wait(std::slice::from_ref(&connection))?;
        connection.look(ready.first().copied().unwrap_or(PollFlags::empty()))?;
    }
    Ok(begin.elapsed())
}

/// Opens a connection for each of the silences, and watches them until everything is clear that can be: once one is at
/// an end, those that would be silent for longer tell nothing new. Ends early when asked to `stop`.
pub fn run(
    address: SocketAddr,
    silences: &[Duration],
    stop: &Stop,
    tell: &mut dyn FnMut(Event),
) -> Result<Round, Failure> {
    let begin = Instant::now();
    let mut round = Round::default();
    let mut open = Vec::new();
    for &silence in silences {
        match Connection::open(address, silence) {
            Ok(connection) => open.push(connection),
            Err(failure) => round.failures.push(failure),
        }
    }
    while !open.is_empty() && !stop.asked() {
        let ready = wait(&open)?;
        let mut left = Vec::with_capacity(open.len());
        for (mut connection, ready) in open.into_iter().zip(ready) {
            match connection.look(ready) {
                Ok(None) => left.push(connection),
                Ok(Some(observation)) => {
                    tell(Event::Seen(&observation));
                    round.observations.push(observation);
                }
                Err(failure) => round.failures.push(failure),
            }
        }
        if let Some(end) = round.end() {
            left.retain(|connection| connection.planned() <= end || connection.is_asked());
        }
        open = left;
        tell(Event::Passed(begin.elapsed()));
    }
    Ok(round)
}

impl Round {
    /// The shortest silence after which a connection did not answer. One that ended by itself says nothing about others.
    fn end(&self) -> Option<Duration> {
        let asked = |seen: &&Observation| matches!(seen.outcome, Outcome::Dropped | Outcome::Reset);
        self.observations.iter().filter(asked).map(|seen| seen.planned).min()
    }
}

/// Waits until something happens on one of the connections, or until it is time to look at them.
fn wait(connections: &[Connection]) -> Result<Vec<PollFlags>, Failure> {
    let now = Instant::now();
    let [rarely, often] = LOOKS;
    let until = connections
        .iter()
        .map(|connection| match connection {
            waiting if waiting.is_waiting() => often,
            silent if silent.is_silent() => rarely.min(silent.due().saturating_duration_since(now)),
            _ => rarely,
        })
        .min()
        .unwrap_or(rarely);
    let timeout = Timespec { tv_sec: 0, tv_nsec: until.subsec_nanos().max(1_000_000).into() };
    let mut waiting: Vec<_> =
        connections.iter().map(|connection| PollFd::new(connection, connection.interest())).collect();
    match poll(&mut waiting, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(waiting.iter().map(PollFd::revents).collect()),
        Err(error) => Err(error),
    }
}
