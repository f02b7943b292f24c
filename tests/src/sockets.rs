//! The TCP sockets of other processes, and the keepalive options that the kernel has for them.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::time::Duration;

use rustix::io::Result as KernelResult;
use rustix::net::{AddressFamily, ipproto, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::descendants;

/// The keepalive options of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// SO_KEEPALIVE.
    pub on: bool,
    /// TCP_KEEPIDLE, in seconds.
    pub idle: u32,
    /// TCP_KEEPINTVL, in seconds.
    pub interval: u32,
    /// TCP_KEEPCNT.
    pub count: u32,
    /// TCP_USER_TIMEOUT, in milliseconds; 0 is none.
    pub user_timeout: u32,
}

impl Keepalive {
    /// Keepalive on, with these values.
    pub fn new(idle: u32, interval: u32, count: u32) -> Self {
        Self { on: true, idle, interval, count, user_timeout: 0 }
    }

    /// A socket that nobody touched: off, and the values that the system has for everybody.
    pub fn untouched() -> Self {
        Self {
            on: false,
            idle: sysctl("tcp_keepalive_time"),
            interval: sysctl("tcp_keepalive_intvl"),
            count: sysctl("tcp_keepalive_probes"),
            user_timeout: 0,
        }
    }

    /// Keepalive on, with the system's values: what a program gets that only sets SO_KEEPALIVE.
    pub fn switched_on() -> Self {
        Self { on: true, ..Self::untouched() }
    }

    fn of(socket: BorrowedFd<'_>) -> KernelResult<Self> {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Ok(Self {
            on: sockopt::socket_keepalive(socket)?,
            idle: seconds(sockopt::tcp_keepidle(socket)?),
            interval: seconds(sockopt::tcp_keepintvl(socket)?),
            count: sockopt::tcp_keepcnt(socket)?,
            // MPTCP has no such option.
            user_timeout: sockopt::tcp_user_timeout(socket).unwrap_or(0),
        })
    }
}

impl fmt::Debug for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on, idle, interval, count, user_timeout } = self;
        write!(f, "{} {idle}/{interval}/{count}", if *on { "on" } else { "off" })?;
        if *user_timeout != 0 {
            write!(f, " user timeout {user_timeout} ms")?;
        }
        Ok(())
    }
}

fn sysctl(name: &str) -> u32 {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    u32::from_str(text.trim()).unwrap_or(0)
}

/// A TCP or MPTCP socket of another process.
#[derive(Debug)]
pub struct Socket {
    /// The process that has it.
    pub pid: i32,
    /// Its descriptor there.
    pub fd: i32,
    /// Whether it was made as AF_INET6.
    pub ipv6: bool,
    /// Whether it is MPTCP.
    pub mptcp: bool,
    /// Whether it listens.
    pub listening: bool,
    /// Its own address; an IPv4-mapped one is shown as IPv4.
    pub local: SocketAddr,
    /// The peer's address, if it is connected; an IPv4-mapped one is shown as IPv4.
    pub peer: Option<SocketAddr>,
    /// The options, read when the socket was found.
    pub keepalive: Keepalive,
    /// The same socket, here: for asking the kernel more, or for changing it.
    pub handle: OwnedFd,
}

impl Socket {
    /// Its own port.
    pub fn local_port(&self) -> u16 {
        self.local.port()
    }

    /// The peer's port; 0 if there is none.
    pub fn peer_port(&self) -> u16 {
        self.peer.map_or(0, |peer| peer.port())
    }

    /// The options as they are now.
    pub fn keepalive_now(&self) -> KernelResult<Keepalive> {
        use std::os::fd::AsFd;
        Keepalive::of(self.handle.as_fd())
    }

    fn copy(pid: i32, fd: i32) -> Option<Self> {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let handle = pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).ok()?;
        let protocol = sockopt::socket_protocol(&handle).ok()?;
        if protocol != Some(ipproto::TCP) && protocol != Some(ipproto::MPTCP) {
            return None;
        }
        let address =
            |any| SocketAddr::try_from(any).ok().map(|a| SocketAddr::new(a.ip().to_canonical(), a.port()));
        Some(Self {
            pid,
            fd,
            ipv6: sockopt::socket_domain(&handle).ok()? == AddressFamily::INET6,
            mptcp: protocol == Some(ipproto::MPTCP),
            listening: sockopt::socket_acceptconn(&handle).ok()?,
            local: address(rustix::net::getsockname(&handle).ok()?)?,
            peer: rustix::net::getpeername(&handle).ok().flatten().and_then(address),
            keepalive: Keepalive::of(std::os::fd::AsFd::as_fd(&handle)).ok()?,
            handle,
        })
    }
}

/// The TCP sockets of a process and of everything it started. What goes away meanwhile is left out.
///
/// The kernel hands out a copy only to who may trace the process: its own user, or root.
pub fn sockets_of(pid: i32) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for pid in descendants(pid) {
        // All of the names first: every copy is a descriptor more, if the process is this one.
        let entries: Vec<_> =
            fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().collect();
        for entry in entries {
            let is_socket =
                fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
            let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (true, Some(fd)) = (is_socket, fd) {
                sockets.extend(Socket::copy(pid, fd));
            }
        }
    }
    sockets
}
