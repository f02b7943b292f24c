// Part of the two crates that count the calls that pass through them: one file, since a library that is to stand twice in
// a chain needs two names for what it exports.

use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_void, sockaddr, socklen_t};

/// The places in the array of counts.
const SOCKET: usize = 0;
const CONNECT: usize = 1;
const ACCEPT: usize = 2;
const SETSOCKOPT: usize = 3;
const GETSOCKOPT: usize = 4;

macro_rules! counts_in {
    ($counts:ident) => {
        /// How many calls there were; the program finds it by its name.
        #[allow(non_upper_case_globals)]
        #[unsafe(no_mangle)]
        pub static $counts: [AtomicU32; 5] = [const { AtomicU32::new(0) }; 5];

        fn count(place: usize) {
            $counts[place].fetch_add(1, Ordering::Relaxed);
        }
    };
}

redhook::hook! {
    unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => count_socket {
        count(SOCKET);
        // SAFETY: the program's arguments.
        unsafe { redhook::real!(socket)(domain, kind, protocol) }
    }
}

redhook::hook! {
    unsafe fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int => count_connect {
        count(CONNECT);
        // SAFETY: the program's arguments.
        unsafe { redhook::real!(connect)(fd, address, length) }
    }
}

redhook::hook! {
    unsafe fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int => count_accept {
        count(ACCEPT);
        // SAFETY: the program's arguments.
        unsafe { redhook::real!(accept)(fd, address, length) }
    }
}

redhook::hook! {
    unsafe fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int => count_accept4 {
        count(ACCEPT);
        // SAFETY: the program's arguments.
        unsafe { redhook::real!(accept4)(fd, address, length, flags) }
    }
}

redhook::hook! {
    unsafe fn setsockopt(
        fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t
    ) -> c_int => count_setsockopt {
        count(SETSOCKOPT);
        // SAFETY: the program's arguments.
        unsafe { redhook::real!(setsockopt)(fd, level, name, value, length) }
    }
}

redhook::hook! {
    unsafe fn getsockopt(
        fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t
    ) -> c_int => count_getsockopt {
        count(GETSOCKOPT);
        // SAFETY: the program's arguments.
        unsafe { redhook::real!(getsockopt)(fd, level, name, value, length) }
    }
}
