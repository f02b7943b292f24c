//! A socket as the kernel shows it.

use core::ffi::{c_int, c_void};
use core::mem::size_of;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kashim_policy::keepalive::{Defaults, Field};
use kashim_policy::socket::{Errno, Opt, Opts, Socket, is_shortage};
use libc::{AF_INET, AF_INET6, sockaddr_in, sockaddr_in6, socklen_t};

use crate::apart::Blocked;
use crate::{choices, errno, real};

/// A descriptor of the host's.
pub struct Fd {
    /// Its number.
    pub number: c_int,
    /// The listener that it was accepted from, or -1.
    listener: c_int,
}

impl Socket for Fd {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        let (level, name) = level_and_name(opt);
        let mut value: c_int = 0;
        let mut length = size_of::<c_int>() as socklen_t;
        // SAFETY: both point to variables of ours of the size that is said.
        let result = unsafe {
            real::getsockopt::call(self.number, level, name, (&raw mut value).cast(), &raw mut length)
        };
        if result == 0 { Ok(value as u32) } else { Err(errno::last()) }
    }

    // Where the option is a constant, level and name are then too: half of what a hook costs beside the system calls.
    #[inline(always)]
    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno> {
        let (level, name) = level_and_name(opt);
        let value = value as c_int;
        let length = size_of::<c_int>() as socklen_t;
        // SAFETY: it points to a variable of ours of the size that is said.
        let result =
            unsafe { real::setsockopt::call(self.number, level, name, (&raw const value).cast(), length) };
        if result == 0 { Ok(()) } else { Err(errno::last()) }
    }

    fn defaults(&mut self) -> Defaults {
        NAMESPACE.get().unwrap_or_else(own_socket)
    }

    fn is_accepted(&self) -> bool {
        self.listener >= 0
    }

    fn chosen(&mut self) -> Opts {
        let own = choices::of(self.number);
        if self.listener < 0 { own } else { Opts(own.0 | choices::of(self.listener).0) }
    }
}

fn level_and_name(opt: Opt) -> (c_int, c_int) {
    match opt {
        Opt::KeepAlive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        Opt::Value(Field::Idle) => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        Opt::Value(Field::Interval) => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        Opt::Value(Field::Count) => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        Opt::Value(Field::UserTimeout) => (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    }
}

/// The option with this level and name, if it is one that matters here.
pub fn opt(level: c_int, name: c_int) -> Option<Opt> {
    const OPTIONS: [Opt; 5] = [
        Opt::KeepAlive,
        Opt::Value(Field::Idle),
        Opt::Value(Field::Interval),
        Opt::Value(Field::Count),
        Opt::Value(Field::UserTimeout),
    ];
    OPTIONS.iter().copied().find(|&opt| level_and_name(opt) == (level, name))
}

/// The defaults of the network namespace, once they were read. One that a process enters later with `setns` is taken
/// for the same.
///
/// Written by a compare-and-exchange alone, which tools that look for races know for what it is.
static NAMESPACE: Packed = Packed(AtomicU64::new(0));

/// Idle, interval and count in one word; 0 is nothing yet.
struct Packed(AtomicU64);

impl Packed {
    /// How many bits idle, interval and count have, behind one that says that they are there. More than 8 years of
    /// idle time, or 255 probes, are taken for these.
    const BITS: [u32; 3] = [28, 27, 8];

    fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    #[inline(never)]
    fn get(&self) -> Option<Defaults> {
        let word = self.0.load(Relaxed);
        if word == 0 {
            return None;
        }
        let mut defaults = Defaults::LINUX;
        let mut rest = word >> 1;
        for (&field, bits) in Field::KEEPALIVE.iter().zip(Packed::BITS) {
            defaults.put(field, (rest & ((1 << bits) - 1)) as u32);
            rest >>= bits;
        }
        Some(defaults)
    }

    fn put(&self, defaults: &Defaults) {
        let (mut word, mut shift) = (1, 1);
        for (&field, bits) in Field::KEEPALIVE.iter().zip(Packed::BITS) {
            word |= u64::from(defaults.of(field)).min((1 << bits) - 1) << shift;
            shift += bits;
        }
        let _ = self.0.compare_exchange(0, word, Relaxed, Relaxed);
    }
}

/// Asks a socket of our own for the namespace's defaults, in a process that has a TCP socket and has never made one.
/// It needs no /proc, which a chroot may lack. If no socket can be made, Linux's defaults are assumed; it is tried again
/// later only if resources were short.
#[cold]
#[inline(never)]
fn own_socket() -> Defaults {
    // A handler that leaves with a jump would leave the descriptor.
    let _blocked = Blocked::all();
    // By bare system calls, so that a preloaded library that counts descriptors sees none.
    // SAFETY: three numbers.
    let fd = unsafe { libc::syscall(libc::SYS_socket, AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        if !is_shortage(errno::last()) {
            NAMESPACE.put(&Defaults::LINUX);
        }
        return Defaults::LINUX;
    }
    let defaults = shown(fd as c_int);
    // SAFETY: the descriptor is ours.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    if let Some(defaults) = &defaults {
        NAMESPACE.put(defaults);
    }
    defaults.unwrap_or(Defaults::LINUX)
}

/// What a socket shows.
fn shown(fd: c_int) -> Option<Defaults> {
    let mut shown = Defaults::LINUX;
    for &field in &Field::KEEPALIVE {
        shown.put(field, get_int(fd, Opt::Value(field))?);
    }
    Some(shown)
}

/// One option, asked of the kernel itself.
fn get_int(fd: c_int, opt: Opt) -> Option<u32> {
    let (level, name) = level_and_name(opt);
    let mut value = 0u32;
    getsockopt(fd, level, name, (&raw mut value).cast(), size_of::<u32>()).map(|_| value)
}

/// getsockopt(2), past other preloaded libraries: how many bytes were written.
pub fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, size: usize) -> Option<usize> {
    let mut length = size as socklen_t;
    // SAFETY: both point to variables of ours of the size that is said.
    let result = unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, value, &raw mut length) };
    (result == 0).then_some(length as usize)
}

impl Fd {
    /// Any socket.
    pub fn new(number: c_int) -> Fd {
        Fd { number, listener: -1 }
    }

    /// One that was accepted from a listener, whose options it has inherited.
    pub fn accepted(number: c_int, listener: c_int) -> Fd {
        Fd { number, listener }
    }

    /// This one was just made by `socket`: it shows the namespace's defaults, if they are not known yet.
    #[inline]
    pub fn is_new(&mut self) {
        if NAMESPACE.is_empty() {
            self.shows_defaults();
        }
    }

    #[cold]
    #[inline(never)]
    fn shows_defaults(&mut self) {
        let Some(shown) = shown(self.number) else { return };
        // Another preloaded library may have set it already, and would have switched it on.
        let is_set = shown != Defaults::LINUX && get_int(self.number, Opt::KeepAlive) != Some(0);
        if is_set {
            own_socket();
        } else {
            NAMESPACE.put(&shown);
        }
    }

    /// The address and port at this end.
    pub fn local(&self) -> Result<(IpAddr, u16), Errno> {
        let mut address = Address([0; SIZE]);
        let mut length = SIZE as socklen_t;
        let at = address.0.as_mut_ptr();
        // SAFETY: both point to variables of ours of the size that is said.
        let result = unsafe { libc::syscall(libc::SYS_getsockname, self.number, at, &raw mut length) };
        if result == 0 { address.internet() } else { Err(errno::last()) }
    }

    /// The address and port at the other end.
    ///
    /// Not by getpeername(2), which knows no peer before the handshake is done, nor from the address that the program
    /// gave: its memory may have changed since. This option is answered in every state (`inet_getname` in the kernel's
    /// net/ipv4/af_inet.c), for no more bytes than the address has (`sk_getsockopt` in net/core/sock.c).
    pub fn peer(&self) -> Result<(IpAddr, u16), Errno> {
        let mut address = Address([0; SIZE]);
        let at = address.0.as_mut_ptr().cast();
        getsockopt(self.number, libc::SOL_SOCKET, libc::SO_PEERNAME, at, size_of::<sockaddr_in>())
            .ok_or_else(errno::last)?;
        if address.family() == AF_INET6 {
            getsockopt(self.number, libc::SOL_SOCKET, libc::SO_PEERNAME, at, SIZE).ok_or_else(errno::last)?;
        }
        address.internet()
    }
}

const SIZE: usize = size_of::<sockaddr_in6>();

/// A socket address as the kernel writes it: sockaddr(3type), sockaddr_in(3type), sockaddr_in6(3type).
#[repr(align(4))]
struct Address([u8; SIZE]);

impl Address {
    fn family(&self) -> c_int {
        let [a, b, ..] = self.0;
        u16::from_ne_bytes([a, b]).into()
    }

    /// An internet address and its port.
    fn internet(&self) -> Result<(IpAddr, u16), Errno> {
        let [_, _, p, q, a, b, c, d, v6 @ ..] = self.0;
        let [v6 @ .., _, _, _, _] = v6;
        let ip = match self.family() {
            AF_INET => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            AF_INET6 => IpAddr::V6(Ipv6Addr::from(v6)),
            _ => return Err(libc::EAFNOSUPPORT),
        };
        Ok((ip, u16::from_be_bytes([p, q])))
    }
}
