//! What is done with a socket after the host's own call has succeeded.
//!
//! Each function here is called by one hook, with the settings, and may change errno. What is to be done is decided
//! by [`kashim_policy::decide`]; here it is found out which sockets it is about.

use core::ffi::c_int;

use kashim_policy::decide::{self, Opt, Outcome, SkipReason, Socket};
use kashim_policy::rules::Service;
use kashim_policy::settings::Settings;
use libc::{sockaddr, socklen_t};

use crate::kernel::{self, Fd};
use crate::report;

/// `socket` has returned `fd`.
#[inline]
pub fn after_socket(settings: &Settings, fd: c_int, domain: c_int, kind: c_int, protocol: c_int) {
    let outcome = if decide::is_tcp(domain, kind, protocol) {
        decide::set_up(settings, &mut Fd(fd))
    } else {
        Outcome::Skipped(SkipReason::NotTcp)
    };
    report::outcome("socket", fd, None, &outcome);
}

/// `connect` has begun to connect `fd`.
///
/// # Safety
/// So many bytes of the address are readable: the kernel has just read them.
#[inline]
pub unsafe fn after_connect(settings: &Settings, fd: c_int, address: *const sockaddr, length: socklen_t) {
    // SAFETY: as above.
    let Some((peer, port)) = (unsafe { kernel::internet(address, length) }) else { return };
    let outcome = decide::check(settings, &mut Fd(fd), &mut |_| Some(Service { peer, port }));
    report::outcome("connect", fd, Some((peer, port)), &outcome);
}

/// `accept` or `accept4` has returned `fd`. The address that it may have filled in is not looked at: the program says
/// in advance how much room there is, and what was said is overwritten.
#[inline(never)]
pub fn after_accept(settings: &Settings, hook: &str, fd: c_int) {
    let outcome = decide::check(settings, &mut Fd(fd), &mut |fd| {
        let (_, port) = fd.local()?;
        let (peer, _) = fd.peer()?;
        Some(Service { peer, port })
    });
    let logged = if report::is_logging() { Fd(fd).peer() } else { None };
    report::outcome(hook, fd, logged, &outcome);
}

/// The program is about to set an option of `fd`: what to put back after that.
#[inline]
pub fn before_setsockopt(settings: &Settings, fd: c_int, level: c_int, name: c_int) -> Option<(Opt, u32)> {
    let opt = kernel::opt(level, name)?;
    let value = decide::hold(settings, &mut Fd(fd), opt)?;
    Some((opt, value))
}

/// The program has set an option of `fd` that `KA_FORCE` puts back.
#[inline]
pub fn after_setsockopt(fd: c_int, (opt, value): (Opt, u32)) {
    let _ = Fd(fd).set(opt, value);
    report::restored(fd, opt, value);
}
