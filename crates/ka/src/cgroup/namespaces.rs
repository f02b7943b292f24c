//! The network namespaces whose own defaults are not Linux's.
//!
//! A BPF program sees the values of a socket, but not what an untouched one would show. A new namespace comes with
//! Linux's own defaults, whatever those of its parent are (tcp_sk_init in net/ipv4/tcp_ipv4.c), so only those have to be
//! known in which somebody has written to the sysctls.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use kashim_policy::keepalive::{Defaults, Field};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::process::{netns, scan};
use crate::tcp::options::Options;

/// By its cookie, what an untouched socket shows in it.
pub type Namespace = (u64, Defaults);

/// Those that differ, of all that a process is in now. One that cannot be entered is taken to be like Linux.
pub fn with_own_defaults() -> Vec<Namespace> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Namespace> = here().into_iter().collect();
    seen.extend(scan::network_namespace("self").ok());
    for pid in scan::all() {
        let Ok(inode) = scan::network_namespace(&pid.to_string()) else { continue };
        if !seen.insert(inode) {
            continue;
        }
        let namespace = scan::open_network_namespace(pid);
        found.extend(namespace.and_then(|namespace| netns::within(namespace.as_fd(), here)));
    }
    found.retain(|(_, defaults)| *defaults != Defaults::LINUX);
    found
}

/// The one that the calling thread is in: a new socket tells both.
fn here() -> Result<Namespace> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let options = Options::of(&socket)?;
    let mut defaults = Defaults::LINUX;
    defaults.put(Field::Idle, options.idle);
    defaults.put(Field::Interval, options.interval);
    defaults.put(Field::Count, options.count);
    Ok((cookie(&socket)?, defaults))
}

/// SO_NETNS_COOKIE, since Linux 5.14.
fn cookie(socket: &OwnedFd) -> Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to where there are as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(Errno::NOPROTOOPT) }
}
