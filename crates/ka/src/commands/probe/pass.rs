//! Many connections side by side.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::{Connection, Failure, Observation};
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

/// What a pass has brought.
#[derive(Debug, Default)]
pub struct Pass {
    /// What was seen, in the order in which it was.
    pub observations: Vec<Observation>,
    /// Why connections could not be made.
    pub failures: Vec<Failure>,
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
) -> Result<Pass, Failure> {
    let begin = Instant::now();
    let mut pass = Pass::default();
    let mut open = Vec::new();
    for &silence in silences {
        match Connection::open(address, silence) {
            Ok(connection) => open.push(connection),
            Err(failure) => pass.failures.push(failure),
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
                    pass.observations.push(observation);
                }
                Err(failure) => pass.failures.push(failure),
            }
        }
        if let Some(end) = pass.end() {
            left.retain(|connection| connection.planned() < end);
        }
        open = left;
        tell(Event::Passed(begin.elapsed()));
    }
    Ok(pass)
}

impl Pass {
    /// After which silence the first connection was at an end.
    fn end(&self) -> Option<Duration> {
        self.observations.iter().filter(|seen| seen.outcome.is_end()).map(|seen| seen.at_most).min()
    }
}

/// Waits until something happens on one of the connections, or until it is time to look at them.
fn wait(connections: &[Connection]) -> Result<Vec<PollFlags>, Failure> {
    let now = Instant::now();
    let [rarely, often] = LOOKS;
    let until = connections
        .iter()
        .map(|connection| match connection {
            busy if busy.is_busy() => often,
            made if made.is_made() => rarely.min(made.due().saturating_duration_since(now)),
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
