//! A socket of another process, held here by a copy of the descriptor: the same socket, not another one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketAddrAny, getpeername, getsockname, ipproto, sockopt};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, getrlimit, pidfd_getfd, pidfd_open, setrlimit,
};

use crate::process::scan::Descriptor;
use crate::tcp::sock_diag::{self, Sock, State, Timer};

/// A process that no other one can take the place of, whatever becomes of its number.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// The process that has this number now. What is read in /proc before [`Process::is_alive`] says yes is its own.
    pub fn open(pid: i32) -> Result<Self> {
        let raw = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        Ok(Self { pid, pidfd: pidfd_open(raw, PidfdFlags::empty())? })
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Waits until it has ended, but no longer than that. Whether it has.
    pub fn ends_within(&self, time: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let time = Timespec::try_from(time).ok();
        let mut ends = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut ends, time.as_ref()), Ok(1..))
    }

    /// The socket behind a descriptor; `EBADF` if it is not the same one any more.
    pub fn socket(&self, descriptor: Descriptor) -> Result<OwnedFd> {
        let copy = pidfd_getfd(&self.pidfd, descriptor.fd, PidfdGetfdFlags::empty())?;
        let same = fstat(&copy)?.st_ino == u64::from(descriptor.inode);
        same.then_some(copy).ok_or(Errno::BADF)
    }
}

/// Processes of which sockets are copied, one held open at a time: there can be more of them than we may have descriptors.
#[derive(Debug, Default)]
pub struct Processes {
    last: Option<Process>,
    refused: BTreeMap<i32, Errno>,
}

impl Processes {
    /// The socket behind a descriptor of a process; see [`Process::socket`]. A process that refused once is not asked
    /// again.
    pub fn socket(&mut self, pid: i32, descriptor: Descriptor) -> Result<OwnedFd> {
        if let Some(&error) = self.refused.get(&pid) {
            return Err(error);
        }
        let process = match self.last.take().filter(|last| last.pid == pid) {
            Some(process) => process,
            None => Process::open(pid)?,
        };
        let socket = process.socket(descriptor);
        if let Err(error @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) = socket {
            self.refused.insert(pid, error);
        }
        self.last = Some(process);
        socket
    }
}

/// Lets us have as many descriptors as we may: one for each process that is held open.
pub fn allow_many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it there are fewer.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The keepalive options of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// SO_KEEPALIVE.
    pub on: bool,
    /// TCP_KEEPIDLE, seconds.
    pub idle: u32,
    /// TCP_KEEPINTVL, seconds.
    pub interval: u32,
    /// TCP_KEEPCNT.
    pub count: u32,
    /// TCP_USER_TIMEOUT, milliseconds; 0 is none.
    pub user_timeout: u32,
}

impl Options {
    /// What the socket has. An error if it is not TCP.
    pub fn of(socket: impl AsFd) -> Result<Self> {
        let socket = socket.as_fd();
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Ok(Self {
            // First what only TCP has.
            idle: seconds(sockopt::tcp_keepidle(socket)?),
            on: sockopt::socket_keepalive(socket)?,
            interval: seconds(sockopt::tcp_keepintvl(socket)?),
            count: sockopt::tcp_keepcnt(socket)?,
            // MPTCP has none.
            user_timeout: sockopt::tcp_user_timeout(socket).unwrap_or(0),
        })
    }
}

/// A socket as it tells of itself, for one whose namespace we cannot ask. `None` if it is not TCP, or has no address
/// yet.
pub fn describe(socket: impl AsFd, inode: u32) -> Option<Sock> {
    let socket = socket.as_fd();
    let protocol = sockopt::socket_protocol(socket).ok()?;
    if protocol != Some(ipproto::TCP) && protocol != Some(ipproto::MPTCP) {
        return None;
    }
    let info = tcp_info(socket)?;
    let &[state, _, _, unanswered, ..] = &info[..] else { return None };
    let state = State(state);
    let address = |any: SocketAddrAny| {
        let address = SocketAddr::try_from(any).ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    };
    let local = address(getsockname(socket).ok()?)?;
    let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    state.is_shown().then(|| Sock {
        ipv6: sockopt::socket_domain(socket) == Ok(AddressFamily::INET6),
        subflow: protocol == Some(ipproto::MPTCP),
        state,
        timer: Timer::Unknown { unanswered },
        heard: sock_diag::heard(&info).filter(|_| state != State::LISTEN),
        local,
        peer: getpeername(socket).ok().flatten().and_then(address).unwrap_or(nobody),
        uid: None,
        inode,
    })
}

/// struct tcp_info, as far as the kernel has it.
fn tcp_info(socket: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut bytes = vec![0u8; 256];
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to where there are as many, and no longer than the call.
    let result = unsafe {
        let to = bytes.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut length)
    };
    bytes.truncate(length as usize);
    (result == 0).then_some(bytes)
}
