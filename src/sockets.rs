//! What is done with a socket after the host's own call.
//!
//! Each function here is called by one hook, with the settings, and may change errno. This module identifies the socket;
//! [`kashim_policy::decide`] chooses the action.

use core::ffi::c_int;

use kashim_policy::decide;
use kashim_policy::outcome::{Outcome, SkipReason};
use kashim_policy::rules::Service;
use kashim_policy::settings::Settings;
use kashim_policy::socket::{self, Errno, Opt, Socket};

use crate::kernel::{self, Fd};
use crate::{choices, report, start};

/// `socket` has returned `fd`.
#[inline]
pub fn after_socket(settings: &Settings, fd: c_int, domain: c_int, kind: c_int, protocol: c_int) {
    let outcome = if socket::is_tcp(domain, kind, protocol) {
        let mut socket = Fd::new(fd);
        socket.is_new();
        decide::set_up(settings, &mut socket)
    } else {
        Outcome::Skipped(SkipReason::NotTcp)
    };
    report::outcome("socket", fd, None, &outcome);
}

/// `connect` has returned for `fd`, with this result and errno. The address argument is not read: while the
/// call blocked, the program may have freed that memory, and given the descriptor's number to another socket.
#[inline]
pub fn after_connect(settings: &Settings, fd: c_int, result: c_int, errno: c_int) {
    if socket::connect_started(result, errno) {
        check(settings, "connect", Fd::new(fd), |socket| {
            let (peer, port) = socket.peer()?;
            Ok(Service { peer, port })
        });
    }
}

/// `accept` or `accept4` has returned `fd`.
#[inline(never)]
pub fn after_accept(settings: &Settings, hook: &str, listener: c_int, fd: c_int) {
    check(settings, hook, Fd::accepted(fd, listener), |socket| {
        let (_, port) = socket.local()?;
        let (peer, _) = socket.peer()?;
        Ok(Service { peer, port })
    });
}

#[inline(always)]
fn check(
    settings: &Settings,
    hook: &str,
    mut fd: Fd,
    mut service: impl FnMut(&mut Fd) -> Result<Service, Errno>,
) {
    let outcome = decide::check(settings, &mut fd, &mut service);
    let peer = if report::is_logging() { fd.peer().ok() } else { None };
    report::outcome(hook, fd.number, peer, &outcome);
}

/// An option that matters here, and the settings.
pub type Watched = (&'static Settings, Opt);

/// The option with this level and name, if it matters here.
#[inline]
pub fn watched(level: c_int, name: c_int) -> Option<Watched> {
    let opt = kernel::opt(level, name)?;
    Some((start::settings()?, opt))
}

/// The program is about to set an option of `fd`: what to put back after that.
#[cold]
pub fn before_setsockopt((settings, opt): Watched, fd: c_int) -> Option<u32> {
    if settings.force { decide::hold(settings, &mut Fd::new(fd), opt) } else { None }
}

/// The program has set an option of `fd`. `held` is to be put back.
#[cold]
pub fn after_setsockopt((settings, opt): Watched, fd: c_int, held: Option<u32>) {
    if let Some(value) = held {
        let _ = Fd::new(fd).set(opt, value);
        report::restored(fd, opt, value);
    } else if !settings.force {
        choices::note(fd, opt);
    }
}
