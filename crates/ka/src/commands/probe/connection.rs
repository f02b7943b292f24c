//! One connection that is left silent for a while, and then asked whether the path still knows it.
//!
//! All is done with plain system calls (rustix makes no others on Linux), so that a preloaded libkashim.so has no say
//! in it: a connection that is kept alive is never silent.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, connect, ipproto, recv, socket_with};

use crate::tcp::tcp_info::TcpInfo;

/// How long a connection may take to be made, and then to have its first probe answered.
pub const CONNECTS_WITHIN: Duration = Duration::from_secs(10);
/// How long after it was made the first probe goes out.
pub const GREETS_AFTER: Duration = SECOND;
/// The kernel's shortest idle time and interval.
const SECOND: Duration = Duration::from_secs(1);
/// A server may talk first. How much later than planned its silence may be over.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long an answer to a probe is waited for, besides two round trips. Probes go out all that time.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// How many probes ask at first, shortly after each other: where a single one is lost, the box may forget the connection
/// before the next, a second later.
const BURST: u8 = 4;
/// How long after one of these the next goes out.
const BURST_INTERVAL: Duration = Duration::from_millis(40);
/// How many probes have to go unanswered at least.
const UNANSWERED: u8 = BURST + 3;

/// More than are ever waited for, so that it is not the kernel that gives the connection up.
const MOST_PROBES: u32 = 60;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The probe was answered.
    Alive,
    /// The probes were not.
    Dropped,
    /// The answer was a RST.
    Reset,
    /// A RST came while nothing was asked.
    ResetInSilence,
    /// The other end closed it (FIN).
    Closed,
    /// It never was silent for so long, because the other end kept sending.
    NeverSilent,
    /// Its probes were not answered when it was new.
    NoProbes,
}

impl Outcome {
    /// Whether the connection was at an end, for whatever reason.
    pub fn is_end(self) -> bool {
        !matches!(self, Outcome::Alive | Outcome::NeverSilent | Outcome::NoProbes)
    }

    /// The same, of a connection that was not asked.
    fn in_silence(self) -> Self {
        if self == Outcome::Reset { Outcome::ResetInSilence } else { self }
    }

    /// Whether it came about by itself.
    pub fn is_unasked(self) -> bool {
        matches!(self, Outcome::Closed | Outcome::ResetInSilence | Outcome::NeverSilent)
    }
}

/// What was seen on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How long it was to be silent.
    pub planned: Duration,
    /// How long it was silent when that was seen, at least. For [`Outcome::NeverSilent`] its longest silence.
    pub at_least: Duration,
    /// The same, at most.
    pub at_most: Duration,
    /// What was seen.
    pub outcome: Outcome,
}

/// Why there is no connection.
pub type Failure = Errno;

/// A connection, from before it is made to its end.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    planned: Duration,
    opened: Instant,
    quiet: Quiet,
    /// How long a probe and its answer took. By so much the silence that a box on the way sees can differ from the one
    /// that is seen here.
    round_trip: Duration,
    stage: Stage,
}

/// Since when nothing has passed. The kernel tells how many segments have passed, not when: so it is known from one
/// look to the next.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// Not before this.
    earliest: Instant,
    /// Not after this.
    latest: Instant,
    /// Not before this did the other end say anything, or accept the connection. Probes and their answers do not count:
    /// programs never see them.
    spoke: Instant,
    looked: Instant,
    segments: (u32, u32),
    /// The longest silence that was broken: how long it was at least, and at most.
    longest: (Duration, Duration),
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Connecting,
    /// The first probe is to be answered. That shows that the path lets probes through, and that a box on the way has
    /// seen the end of the handshake: where that was lost, a box keeps the half-open connection longer than its idle timeout.
    Greeting {
        since: Instant,
    },
    /// `since` is when the silence was to begin.
    Silent {
        since: Instant,
    },
    /// `silence` is what had passed at least when probing was switched on, `sent` what had passed at most when the last of
    /// the probes that ask at first was seen to be on its way.
    Probing {
        since: Instant,
        silence: Duration,
        sent: Option<Duration>,
    },
}

impl Connection {
    /// Begins to connect.
    pub fn open(address: SocketAddr, planned: Duration) -> Result<Self, Failure> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        // A supervisor may have switched it on.
        if sockopt::socket_keepalive(&socket)? {
            sockopt::set_socket_keepalive(&socket, false)?;
        }
        let opened = Instant::now();
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let quiet = Quiet {
            earliest: opened,
            latest: opened,
            spoke: opened,
            looked: opened,
            segments: (0, 0),
            longest: (Duration::ZERO, Duration::ZERO),
        };
        Ok(Self { socket, planned, opened, quiet, round_trip: Duration::ZERO, stage: Stage::Connecting })
    }

    /// How long it is to be silent.
    pub fn planned(&self) -> Duration {
        self.planned
    }

    /// What is to be polled for.
    pub fn interest(&self) -> PollFlags {
        match self.stage {
            Stage::Connecting => PollFlags::OUT,
            Stage::Greeting { .. } | Stage::Silent { .. } | Stage::Probing { .. } => {
                PollFlags::IN | PollFlags::RDHUP
            }
        }
    }

    /// Whether it is made.
    pub fn is_made(&self) -> bool {
        !matches!(self.stage, Stage::Connecting)
    }

    /// Whether its silence has begun.
    pub fn is_silent(&self) -> bool {
        matches!(self.stage, Stage::Silent { .. })
    }

    /// Whether it is being asked whether the path still knows it.
    pub fn is_asked(&self) -> bool {
        matches!(self.stage, Stage::Probing { .. })
    }

    /// Whether an answer may come at any time.
    pub fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Greeting { .. } | Stage::Probing { .. })
    }

    /// When its silence will be over.
    pub fn due(&self) -> Instant {
        self.quiet.latest + self.planned
    }

    /// Looks at it. `ready` is what polling told. Returns what was seen, when that is clear, or why it could not be made.
    pub fn look(&mut self, ready: PollFlags) -> Result<Option<Observation>, Failure> {
        match self.stage {
            Stage::Connecting => self.look_at_connecting(ready).map(|()| None),
            Stage::Greeting { since } => self.look_for_first_answer(ready, since),
            Stage::Silent { since } => self.look_at_silence(ready, since),
            Stage::Probing { since, silence, sent } => self.look_for_answer(ready, since, silence, sent),
        }
    }

    fn look_at_connecting(&mut self, ready: PollFlags) -> Result<(), Failure> {
        if ready.is_empty() {
            return if self.opened.elapsed() > CONNECTS_WITHIN { Err(Errno::TIMEDOUT) } else { Ok(()) };
        }
        sockopt::socket_error(&self.socket)??;
        self.quiet.segments = self.info()?.segments;
        let now = Instant::now();
        self.quiet.latest = now;
        self.quiet.looked = now;
        self.keep_alive(GREETS_AFTER)?;
        self.stage = Stage::Greeting { since: now };
        Ok(())
    }

    fn look_for_first_answer(
        &mut self,
        ready: PollFlags,
        since: Instant,
    ) -> Result<Option<Observation>, Failure> {
        let ended = self.ended(ready);
        let info = self.info()?;
        let now = Instant::now();
        let passed = (Duration::ZERO, now - self.opened);
        if let Some(ended) = ended {
            let outcome = if ended == Outcome::Dropped { Outcome::NoProbes } else { ended.in_silence() };
            return Ok(Some(self.observation(passed, outcome)));
        }
        // The last of several probes counts: if an earlier one is answered, that one still passes.
        if info.segments.0 != self.quiet.segments.0 {
            self.quiet.segments = info.segments;
            self.quiet.earliest = self.quiet.looked;
        }
        self.quiet.looked = now;
        // An answer carries no data, and nothing else made the probe wait for a whole second.
        if info.unanswered == 0 && info.last_ack + GREETS_AFTER / 2 < info.last_data {
            sockopt::set_socket_keepalive(&self.socket, false)?;
            self.quiet.segments = self.info()?.segments;
            self.quiet.latest = Instant::now();
            self.round_trip = self.quiet.latest - self.quiet.earliest;
            self.quiet.spoke = now.checked_sub(info.last_data + self.round_trip).unwrap_or(self.opened);
            self.stage = Stage::Silent { since: self.quiet.latest };
            return Ok(None);
        }
        if now - since <= CONNECTS_WITHIN {
            return Ok(None);
        }
        self.abandon();
        // Who talks all the time is never probed.
        Ok(Some(if info.last_data <= 2 * GREETS_AFTER {
            self.observation((info.last_data, info.last_data), Outcome::NeverSilent)
        } else {
            self.observation(passed, Outcome::NoProbes)
        }))
    }

    fn look_at_silence(&mut self, ready: PollFlags, since: Instant) -> Result<Option<Observation>, Failure> {
        let ended = self.ended(ready);
        let now = Instant::now();
        if let Some(ended) = ended {
            // Some servers say goodbye first, which breaks the silence that they end.
            let longest = self.quiet.longest.max((now - self.quiet.latest, now - self.quiet.spoke));
            return Ok(Some(self.observation(longest, ended.in_silence())));
        }
        let segments = self.info()?.segments;
        let quiet = &mut self.quiet;
        if segments != quiet.segments {
            quiet.segments = segments;
            quiet.longest = quiet.longest.max((quiet.looked - quiet.latest, now - quiet.spoke));
            quiet.earliest = quiet.looked;
            quiet.spoke = quiet.looked;
            quiet.latest = now;
        }
        quiet.looked = now;
        if now >= self.due() {
            self.begin_to_probe(now)?;
        } else if now - since > self.planned + GRACE {
            let longest = self.quiet.longest.max(self.silent_for(now));
            return Ok(Some(self.observation(longest, Outcome::NeverSilent)));
        }
        Ok(None)
    }

    /// Has the kernel send probes whenever nothing has passed for so long.
    pub fn keep_alive(&self, idle: Duration) -> Result<(), Failure> {
        sockopt::set_tcp_keepintvl(&self.socket, idle)?;
        sockopt::set_tcp_keepcnt(&self.socket, MOST_PROBES)?;
        sockopt::set_socket_keepalive(&self.socket, true)?;
        // The idle time last: the timer is set anew by it, and if so much time has passed already, it fires at once.
        sockopt::set_tcp_keepidle(&self.socket, idle)
    }

    /// Where nothing arrives, a FIN would only be sent again and again.
    fn abandon(&self) {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    fn begin_to_probe(&mut self, now: Instant) -> Result<(), Failure> {
        self.keep_alive(SECOND)?;
        self.stage = Stage::Probing { since: now, silence: now - self.quiet.latest, sent: None };
        Ok(())
    }

    fn look_for_answer(
        &mut self,
        ready: PollFlags,
        since: Instant,
        silence: Duration,
        sent: Option<Duration>,
    ) -> Result<Option<Observation>, Failure> {
        let ended = self.ended(ready);
        let now = Instant::now();
        let (_, passed) = self.silent_for(now);
        let passed = passed + self.round_trip;
        if let Some(outcome) = ended {
            return Ok(Some(self.observation((silence, sent.unwrap_or(passed)), outcome)));
        }
        let info = self.info()?;
        // What was heard last was either before the silence or after the probe.
        if info.unanswered == 0 && info.last_ack < now - since + silence / 2 {
            return Ok(Some(self.observation((silence, passed), Outcome::Alive)));
        }
        let sent = sent.or((info.unanswered >= BURST).then_some(passed));
        if sent.is_none() && now - since >= BURST_INTERVAL * info.unanswered.into() {
            // So much time has passed that the timer fires at once.
            sockopt::set_tcp_keepidle(&self.socket, SECOND)?;
        }
        self.stage = Stage::Probing { since, silence, sent };
        let patience = ANSWERS_WITHIN + 2 * self.round_trip;
        if now - since <= patience || info.unanswered < UNANSWERED {
            return Ok(None);
        }
        self.abandon();
        Ok(Some(self.observation((silence, sent.unwrap_or(passed)), Outcome::Dropped)))
    }

    /// Reads what has come, which is of no interest, and tells whether that was all for ever.
    fn ended(&self, ready: PollFlags) -> Option<Outcome> {
        let mut data = [0; 4096];
        // Never for long, however much there is: the others want to be looked at.
        for _ in 0..16 {
            if ready.is_empty() {
                break;
            }
            match recv(&self.socket, &mut data, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Some(Outcome::Closed),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Some(outcome_of(error)),
            }
        }
        None
    }

    fn info(&self) -> Result<TcpInfo, Failure> {
        TcpInfo::read(&self.socket)
    }

    /// How long nothing has passed, at least and at most.
    fn silent_for(&self, now: Instant) -> (Duration, Duration) {
        (now - self.quiet.latest, now - self.quiet.earliest)
    }

    fn observation(&self, (at_least, at_most): (Duration, Duration), outcome: Outcome) -> Observation {
        Observation { planned: self.planned, at_least, at_most, outcome }
    }
}

/// What an error says that a connection has met with.
fn outcome_of(error: Errno) -> Outcome {
    match error {
        // Our own timer, at a path that loses everything, or a router that says that it has no way.
        Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH => Outcome::Dropped,
        _ => Outcome::Reset,
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_without_a_way_resets_nothing() {
        for (error, outcome) in [
            (Errno::TIMEDOUT, Outcome::Dropped),
            (Errno::HOSTUNREACH, Outcome::Dropped),
            (Errno::NETUNREACH, Outcome::Dropped),
            (Errno::CONNRESET, Outcome::Reset),
            (Errno::PIPE, Outcome::Reset),
        ] {
            assert_eq!(outcome_of(error), outcome, "{error}");
        }
    }
}
