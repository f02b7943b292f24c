//! A socket as the kernel shows it.

use core::ffi::{c_int, c_long};
use core::mem::{MaybeUninit, size_of};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use kashim_policy::decide::{self, Errno, Opt, Socket};
use kashim_policy::keepalive::{Defaults, Field, PerField};
use libc::{AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

use crate::{errno, real};

/// A descriptor of the host's.
pub struct Fd(pub c_int);

impl Socket for Fd {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        let (level, name) = level_and_name(opt);
        let mut value: c_int = 0;
        let mut length = size_of::<c_int>() as socklen_t;
        // SAFETY: both point to variables of ours of the size that is said.
        let result =
            unsafe { real::getsockopt::call(self.0, level, name, (&raw mut value).cast(), &raw mut length) };
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
            unsafe { real::setsockopt::call(self.0, level, name, (&raw const value).cast(), length) };
        if result == 0 { Ok(()) } else { Err(errno::last()) }
    }

    fn known_defaults(&self) -> Option<Defaults> {
        NAMESPACE.get()
    }

    /// A socket that nobody has touched shows the namespace's defaults, and needs no /proc, which a chroot may lack.
    /// If there is none to be had they are taken to be those that Linux comes with: for good if that is not allowed
    /// here, until the next time if the system is only short of something.
    fn read_defaults(&mut self) -> Defaults {
        if let Some(known) = NAMESPACE.get() {
            return known;
        }
        let mut defaults = Defaults::LINUX;
        // SAFETY: three numbers.
        let fd = unsafe { real::socket::call(AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        if fd >= 0 {
            let mut untouched = Fd(fd);
            for &field in &Field::KEEPALIVE {
                if let Ok(value) = untouched.get(Opt::Value(field)) {
                    defaults.put(field, value);
                }
            }
            // SAFETY: the descriptor is ours. Not `close`, which is a cancellation point.
            unsafe { libc::syscall(libc::SYS_close, fd) };
        } else if decide::is_shortage(errno::last()) {
            return defaults;
        }
        NAMESPACE.put(&defaults);
        defaults
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

/// The network namespace's defaults, once they were read.
static NAMESPACE: Cached = Cached { known: AtomicBool::new(false), values: [const { AtomicU32::new(0) }; 4] };

struct Cached {
    known: AtomicBool,
    values: [AtomicU32; 4],
}

impl Cached {
    #[inline(never)]
    fn get(&self) -> Option<Defaults> {
        // Acquire: the numbers were written before this was.
        self.known.load(Acquire).then(|| PerField(self.values.each_ref().map(|value| value.load(Relaxed))))
    }

    fn put(&self, defaults: &Defaults) {
        for (place, &value) in self.values.iter().zip(&defaults.0) {
            place.store(value, Relaxed);
        }
        self.known.store(true, Release);
    }
}

/// The internet address and port in a socket address of this length.
///
/// # Safety
/// So many bytes are readable.
pub unsafe fn internet(address: *const sockaddr, length: socklen_t) -> Option<(IpAddr, u16)> {
    let length = length as usize;
    if address.is_null() || length < size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: the family is at the beginning, and so much is readable.
    match c_int::from(unsafe { (&raw const (*address).sa_family).read_unaligned() }) {
        AF_INET if length >= size_of::<sockaddr_in>() => {
            // SAFETY: so much is readable, wherever it begins.
            let a = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
            Some((Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr)).into(), u16::from_be(a.sin_port)))
        }
        // The kernel also takes an address without the scope at its end (SIN6_LEN_RFC2133).
        AF_INET6 if length >= size_of::<sockaddr_in6>() - size_of::<u32>() => {
            let at = address.cast::<sockaddr_in6>();
            // SAFETY: both are before the scope.
            let (ip, port) = unsafe {
                ((&raw const (*at).sin6_addr).read_unaligned(), (&raw const (*at).sin6_port).read_unaligned())
            };
            Some((Ipv6Addr::from(ip.s6_addr).into(), u16::from_be(port)))
        }
        _ => None,
    }
}

impl Fd {
    /// The address and port at this end.
    pub fn local(&self) -> Option<(IpAddr, u16)> {
        self.end(libc::SYS_getsockname)
    }

    /// The address and port at the other end.
    pub fn peer(&self) -> Option<(IpAddr, u16)> {
        self.end(libc::SYS_getpeername)
    }

    /// Asks the kernel itself: a library that makes up addresses for the program makes them up for it, not for us.
    fn end(&self, call: c_long) -> Option<(IpAddr, u16)> {
        let mut address = MaybeUninit::<sockaddr_storage>::uninit();
        let mut length = size_of::<sockaddr_storage>() as socklen_t;
        let at = address.as_mut_ptr().cast::<sockaddr>();
        // SAFETY: both point to variables of ours of the size that is said.
        if unsafe { libc::syscall(call, self.0, at, &raw mut length) } != 0 {
            return None;
        }
        // SAFETY: so many bytes were written, and no more than that are read.
        unsafe { internet(at, length) }
    }
}
