//! A socket as the decisions see it, and the calls that are about one.

use crate::keepalive::{Defaults, Field};

/// A socket option that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// SO_KEEPALIVE, 0 or 1.
    KeepAlive,
    /// TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT or TCP_USER_TIMEOUT.
    Value(Field),
}

/// A number as in errno(3).
pub type Errno = i32;

/// Some of the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opts(pub u8);

impl Opts {
    /// Every bit that an option has here.
    pub const ALL: Opts = Opts(0b1_1111);

    /// One option.
    pub fn one(opt: Opt) -> Opts {
        Opts(match opt {
            Opt::KeepAlive => 1,
            Opt::Value(field) => 2 << field as u8,
        })
    }

    /// Whether this is one of them.
    pub fn has(self, opt: Opt) -> bool {
        self.0 & Opts::one(opt).0 != 0
    }
}

/// A socket, and the network namespace that it lives in.
pub trait Socket {
    /// getsockopt(2).
    fn get(&mut self, opt: Opt) -> Result<u32, Errno>;
    /// setsockopt(2).
    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno>;
    /// The namespace's defaults.
    fn defaults(&mut self) -> Defaults;
    /// What the program has set by itself, as far as is known: also to the value that was there already.
    fn chosen(&mut self) -> Opts;
    /// Whether it was accepted, and so has its listener's options.
    fn is_accepted(&self) -> bool;
}

/// Whether `socket` makes a TCP or MPTCP socket from these arguments, IPv4 or IPv6.
pub fn is_tcp(domain: i32, kind: i32, protocol: i32) -> bool {
    // The kernel takes the same flags off (SOCK_TYPE_MASK in include/linux/net.h). What is left is a number, not a set
    // of bits.
    let kind = kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    matches!(domain, libc::AF_INET | libc::AF_INET6)
        && kind == libc::SOCK_STREAM
        && matches!(protocol, 0 | libc::IPPROTO_TCP | libc::IPPROTO_MPTCP)
}

/// Whether `connect` has connected a socket or at least begun to, by its result and errno. One that was interrupted
/// goes on in the background like one that does not block (connect(2), EINTR).
pub fn connect_started(result: i32, errno: Errno) -> bool {
    result == 0 || (result == -1 && matches!(errno, libc::EINPROGRESS | libc::EINTR))
}

/// Whether the system was only short of something when it made no socket, so that asking later may help.
pub fn is_shortage(errno: Errno) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
}
