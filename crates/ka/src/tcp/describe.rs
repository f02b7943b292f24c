//! A TCP socket as it tells of itself, for one whose network namespace we cannot ask.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketAddrAny, getpeername, getsockname, ipproto, sockopt};

use super::sock_diag::{Sock, Timer};
use super::state::State;
use super::tcp_info::TcpInfo;

/// A socket as it tells of itself, for one whose namespace we cannot ask. `None` if it is not TCP, or has no address
/// yet.
pub fn describe(socket: impl AsFd, inode: u32) -> Option<Sock> {
    let socket = socket.as_fd();
    let protocol = sockopt::socket_protocol(socket).ok()?;
    if protocol != Some(ipproto::TCP) && protocol != Some(ipproto::MPTCP) {
        return None;
    }
    let info = TcpInfo::read(socket).ok()?;
    let state = info.state;
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
        timer: Timer::Unknown { unanswered: info.unanswered },
        last_received: (state != State::LISTEN).then(|| info.last_received()),
        local,
        peer: getpeername(socket).ok().flatten().and_then(address).unwrap_or(nobody),
        uid: None,
        cgroup: None,
        inode,
    })
}
