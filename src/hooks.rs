//! The functions that interpose those of the C library: the ABI and nothing else.
//!
//! Each makes the real call, bare, so that a thread that is cancelled in it, or a signal handler that leaves it with a
//! jump, finds nothing of ours on the way. What follows is done with errno kept.

use core::ffi::{c_int, c_void};

use libc::{sockaddr, socklen_t};

use crate::{errno, real, sockets, start};

/// socket(2)
///
/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: the host's arguments.
    let fd = unsafe { real::socket::call(domain, kind, protocol) };
    if fd >= 0 {
        if let Some(settings) = start::settings() {
            errno::preserve(|_| sockets::after_socket(settings, fd, domain, kind, protocol));
        }
    }
    fd
}

/// connect(2)
///
/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: the host's arguments.
    let result = unsafe { real::connect::call(fd, address, length) };
    if let Some(settings) = start::settings() {
        errno::preserve(|errno| sockets::after_connect(settings, fd, result, errno));
    }
    result
}

/// accept(2)
///
/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(listener: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the host's arguments.
    let fd = unsafe { real::accept::call(listener, address, length) };
    if fd >= 0 {
        if let Some(settings) = start::settings() {
            errno::preserve(|_| sockets::after_accept(settings, "accept", listener, fd));
        }
    }
    fd
}

/// accept4(2)
///
/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    listener: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the host's arguments.
    let fd = unsafe { real::accept4::call(listener, address, length, flags) };
    if fd >= 0 {
        if let Some(settings) = start::settings() {
            errno::preserve(|_| sockets::after_accept(settings, "accept4", listener, fd));
        }
    }
    fd
}

/// setsockopt(2)
///
/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    let watched = sockets::watched(level, name);
    let held = watched.and_then(|watched| errno::preserve(|_| sockets::before_setsockopt(watched, fd)));
    // SAFETY: the host's arguments.
    let result = unsafe { real::setsockopt::call(fd, level, name, value, length) };
    if let (Some(watched), 0) = (watched, result) {
        errno::preserve(|_| sockets::after_setsockopt(watched, fd, held));
    }
    result
}
