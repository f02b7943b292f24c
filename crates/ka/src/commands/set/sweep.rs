//! One look at all sockets of a process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use kashim_policy::keepalive::Defaults;
use rustix::io::Errno;
use rustix::net::{getpeername, getsockname, sockopt};

use super::change::{Refusal, set};
use super::config::Config;
use crate::process::denial::{Access, Denial};
use crate::process::pidfd::Process;
use crate::process::scan::{self, Descriptor};
use crate::tcp::options::Options;

/// What became of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was so before.
    AsWanted,
    /// Changed, or it would be.
    Changed(Options),
    /// The system refused some of it; what it is now.
    Refused(Vec<Refusal>, Options),
}

/// How soon a socket was set that was not yet meant when the process was looked at before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It was opened at most so long ago.
    Opened(Duration),
    /// It was there, and has got its peer at most so long ago.
    Connected(Duration),
}

/// A socket that was meant, and what became of it.
#[derive(Debug)]
pub struct Done {
    /// Its descriptor.
    pub fd: i32,
    /// `127.0.0.1:5432 to 10.0.0.1:40000`, or what else it is.
    pub place: String,
    /// What it was.
    pub before: Options,
    /// What it is.
    pub outcome: Outcome,
    /// Nothing for what was there at the first look.
    pub late: Option<Late>,
}

/// A process of which the sockets are changed.
#[derive(Debug)]
pub struct Sweeper {
    process: Process,
    kernel: Defaults,
    /// The sockets that need no more looking at.
    known: BTreeSet<u32>,
    /// Those that are not meant yet.
    unmatched: BTreeSet<u32>,
    /// When the last look began.
    looked: Option<Instant>,
}

impl Sweeper {
    /// For a process; `kernel` is what an untouched socket shows there.
    pub fn new(process: Process, kernel: Defaults) -> Self {
        Self { process, kernel, known: BTreeSet::new(), unmatched: BTreeSet::new(), looked: None }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Changes each socket that is meant and that was not met before. A rule that forbids it is the error; that the
    /// process has ended is none.
    pub fn sweep(&mut self, config: &Config, tell: &mut dyn FnMut(Done)) -> Result<(), Denial> {
        let pid = self.process.pid;
        let start = Instant::now();
        let found = match scan::sockets(pid) {
            Ok(found) => found,
            Err(error) => return self.refused(error, Access::Read),
        };
        let (mut seen, mut unmatched) = (BTreeSet::new(), BTreeSet::new());
        for descriptor in found {
            let Descriptor { fd, inode, .. } = descriptor;
            if config.fd.is_some_and(|wanted| wanted != fd) || self.known.contains(&inode) {
                seen.extend(self.known.contains(&inode).then_some(inode));
                continue;
            }
            // Two descriptors can be the same socket.
            if seen.contains(&inode) {
                continue;
            }
            match self.process.socket(descriptor) {
                Ok(socket) => {
                    let settled = self.one(config, descriptor, socket, tell);
                    (if settled { &mut seen } else { &mut unmatched }).insert(inode);
                }
                // Closed meanwhile, or the number stands for something else now.
                Err(Errno::BADF) => {}
                Err(error) => return self.refused(error, Access::Attach),
            }
        }
        (self.known, self.unmatched, self.looked) = (seen, unmatched, Some(start));
        Ok(())
    }

    /// Changes one socket. Whether it need not be looked at again.
    fn one(
        &self,
        config: &Config,
        descriptor: Descriptor,
        socket: OwnedFd,
        tell: &mut dyn FnMut(Done),
    ) -> bool {
        // Any error: it is not TCP.
        let Ok(before) = Options::of(&socket) else { return true };
        let Place { text, peer, settled } = Place::of(&socket);
        if let Some(peers) = &config.peers {
            if !peer.is_some_and(|peer| peers.contains(peer)) {
                // It may still get a peer.
                return settled;
            }
        }
        let wanted = config.change.apply(before, &self.kernel);
        let outcome = if wanted == before {
            Outcome::AsWanted
        } else if config.dry_run {
            Outcome::Changed(wanted)
        } else {
            let refused = set(&socket, before, wanted);
            // What the kernel says, not what we think that we have done.
            let now = Options::of(&socket).unwrap_or(before);
            if refused.is_empty() { Outcome::Changed(now) } else { Outcome::Refused(refused, now) }
        };
        // What was not in the list was opened after that look had begun, and what had no peer then got it since.
        let was_there = self.unmatched.contains(&descriptor.inode);
        let late = self.looked.map(|looked| looked.elapsed());
        let late = late.map(if was_there { Late::Connected } else { Late::Opened });
        tell(Done { fd: descriptor.fd, place: text, before, outcome, late });
        true
    }

    fn refused(&self, error: Errno, access: Access) -> Result<(), Denial> {
        // While it ends, its directory in /proc belongs to root already, and it is not said to have ended yet.
        if self.process.ends_within(Duration::from_millis(100)) {
            return Ok(());
        }
        Denial::diagnose(error, self.process.pid, access).map_or(Ok(()), Err)
    }
}

/// Where a socket is in its life.
struct Place {
    text: String,
    peer: Option<SocketAddr>,
    /// It will not get another peer.
    settled: bool,
}

impl Place {
    fn of(socket: &OwnedFd) -> Self {
        use std::os::fd::AsFd;
        let socket: BorrowedFd<'_> = socket.as_fd();
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let local = getsockname(socket).ok().and_then(|a| SocketAddr::try_from(a).ok()).map(canonical);
        let peer =
            getpeername(socket).ok().flatten().and_then(|a| SocketAddr::try_from(a).ok()).map(canonical);
        let listens = sockopt::socket_acceptconn(socket) == Ok(true);
        let text = match (local, peer) {
            (Some(local), Some(peer)) => format!("{local} to {peer}"),
            (Some(local), None) if listens => format!("{local}, listening"),
            _ => "not connected".to_owned(),
        };
        Self { text, peer, settled: listens || peer.is_some() }
    }
}
