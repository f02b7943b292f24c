//! A preload library in which `setsockopt` or `getsockopt` fails, as the variable FAILS says: `setsockopt EPERM`, or
//! for one option alone `setsockopt ENOPROTOOPT idle`. The call goes no further.

use std::env;
use std::sync::LazyLock;

use libc::{
    EINVAL, ENOBUFS, ENOPROTOOPT, EPERM, IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE,
    TCP_KEEPINTVL, TCP_USER_TIMEOUT, c_int, c_void, socklen_t,
};

/// What is to fail.
struct Failure {
    call: String,
    error: c_int,
    /// Level and name; every option if there is none.
    option: Option<(c_int, c_int)>,
}

static FAILURE: LazyLock<Option<Failure>> = LazyLock::new(|| {
    let text = env::var("FAILS").ok()?;
    let mut words = text.split(' ');
    let call = words.next()?.to_owned();
    let error = match words.next()? {
        "EPERM" => EPERM,
        "ENOBUFS" => ENOBUFS,
        "ENOPROTOOPT" => ENOPROTOOPT,
        _ => EINVAL,
    };
    let option = words.next().and_then(|word| match word {
        "keepalive" => Some((SOL_SOCKET, SO_KEEPALIVE)),
        "idle" => Some((IPPROTO_TCP, TCP_KEEPIDLE)),
        "interval" => Some((IPPROTO_TCP, TCP_KEEPINTVL)),
        "count" => Some((IPPROTO_TCP, TCP_KEEPCNT)),
        "timeout" => Some((IPPROTO_TCP, TCP_USER_TIMEOUT)),
        _ => None,
    });
    Some(Failure { call, error, option })
});

/// Whether this call fails. Then errno says so.
fn fails(call: &str, level: c_int, name: c_int) -> bool {
    let Some(failure) = &*FAILURE else { return false };
    let is_it = failure.call == call && failure.option.is_none_or(|option| option == (level, name));
    if is_it {
        // SAFETY: the calling thread's errno.
        unsafe { *libc::__errno_location() = failure.error };
    }
    is_it
}

redhook::hook! {
    unsafe fn setsockopt(
        fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t
    ) -> c_int => failing_setsockopt {
        if fails("setsockopt", level, name) {
            -1
        } else {
            // SAFETY: the program's arguments.
            unsafe { redhook::real!(setsockopt)(fd, level, name, value, length) }
        }
    }
}

redhook::hook! {
    unsafe fn getsockopt(
        fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t
    ) -> c_int => failing_getsockopt {
        if fails("getsockopt", level, name) {
            -1
        } else {
            // SAFETY: the program's arguments.
            unsafe { redhook::real!(getsockopt)(fd, level, name, value, length) }
        }
    }
}
