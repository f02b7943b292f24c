//! The keepalive options of a socket that we hold.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Result;
use rustix::net::sockopt;

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

impl fmt::Display for Options {
    /// `on 60/15/9`, `off 7200/75/9, user timeout 30 s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on, idle, interval, count, user_timeout } = self;
        write!(f, "{} {idle}/{interval}/{count}", if *on { "on" } else { "off" })?;
        match user_timeout {
            0 => Ok(()),
            ms if ms % 1000 == 0 => write!(f, ", user timeout {} s", ms / 1000),
            ms => write!(f, ", user timeout {ms} ms"),
        }
    }
}
