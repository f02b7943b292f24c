//! The next function in the chain of preloaded libraries, which ends at the C library.
//!
//! They are looked up when the library is loaded: looking one up takes the loader's lock, which must not happen in
//! somebody's signal handler. Only a hook that is called before that (by the constructor of another library) looks
//! up its own on first use.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicBool, Ordering};

use libc::{sockaddr, socklen_t};
use once_cell::race::OnceNonZeroUsize;

use crate::weak;

/// Set if a next function was not found, so that calls go straight to the kernel: the process has neither `dlsym` nor
/// `_dl_sym`, or the library was not preloaded but opened by the program.
static UNCHAINED: AtomicBool = AtomicBool::new(false);

/// Whether some call goes straight to the kernel, past other preloaded libraries and thread cancellation.
pub fn is_broken() -> bool {
    UNCHAINED.load(Ordering::Relaxed)
}

/// The address of the next `name` after this library, or else that of `otherwise`.
#[cold]
#[inline(never)]
fn next(place: &OnceNonZeroUsize, name: &CStr, otherwise: usize) -> NonZeroUsize {
    let found = if let Some(dlsym) = weak::dlsym() {
        // SAFETY: dlsym(3) with a valid name. It finds out from its return address who asks, so this must not be a
        // tail call, and is none: the result is looked at.
        let found = unsafe { dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        if found.is_null() {
            forget_error(dlsym);
        }
        found
    } else if let Some(dl_sym) = weak::dl_sym() {
        // SAFETY: as dlsym, with an address in this library to say who asks.
        unsafe { dl_sym(libc::RTLD_NEXT, name.as_ptr(), next as *const c_void) }
    } else {
        core::ptr::null_mut()
    };
    place.get_or_init(|| {
        NonZeroUsize::new(found as usize).unwrap_or_else(|| {
            UNCHAINED.store(true, Ordering::Relaxed);
            // SAFETY: it is the address of a function of ours.
            unsafe { NonZeroUsize::new_unchecked(otherwise) }
        })
    })
}

/// The host must not find the error of a look-up of ours when it calls `dlerror` after it has opened this library.
#[cold]
fn forget_error(dlsym: weak::Dlsym) {
    // SAFETY: dlsym(3) with a valid name. Not a reference, which every process would look up.
    let dlerror = unsafe { dlsym(libc::RTLD_DEFAULT, c"dlerror".as_ptr()) };
    // SAFETY: it is null or the address of dlerror(3), and an optional function pointer is represented so.
    let dlerror = unsafe { transmute::<*mut c_void, Option<unsafe extern "C" fn() -> *mut c_char>>(dlerror) };
    if let Some(dlerror) = dlerror {
        // SAFETY: it takes nothing; what it returns is not looked at.
        unsafe { dlerror() };
    }
}

macro_rules! real_functions {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $number:ident;)*) => {$(
        $(#[$doc])*
        pub mod $name {
            use super::*;

            static NEXT: OnceNonZeroUsize = OnceNonZeroUsize::new();

            /// The address of the next function of this name.
            #[inline]
            pub fn resolve() -> NonZeroUsize {
                NEXT.get().unwrap_or_else(|| {
                    let name = concat!(stringify!($name), "\0").as_bytes();
                    // SAFETY: it ends with a zero, and there is none in the name of a function.
                    let name = unsafe { CStr::from_bytes_with_nul_unchecked(name) };
                    next(&NEXT, name, raw_syscall as *const () as usize)
                })
            }

            /// Calls it.
            ///
            /// # Safety
            /// As for the function of the C library.
            #[inline]
            pub unsafe fn call($($argument: $type),*) -> c_int {
                // SAFETY: it is the address of a function of this name, and so of this type.
                let function = unsafe {
                    transmute::<usize, unsafe extern "C" fn($($type),*) -> c_int>(resolve().get())
                };
                // SAFETY: the caller upholds the C function's contract.
                unsafe { function($($argument),*) }
            }

            unsafe extern "C" fn raw_syscall($($argument: $type),*) -> c_int {
                // SAFETY: the system call of this name takes the same arguments.
                unsafe { libc::syscall(libc::$number, $($argument),*) as c_int }
            }
        }
    )*};
}

real_functions! {
    /// socket(2)
    socket(domain: c_int, kind: c_int, protocol: c_int) = SYS_socket;
    /// connect(2)
    connect(fd: c_int, address: *const sockaddr, length: socklen_t) = SYS_connect;
    /// accept(2)
    accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) = SYS_accept;
    /// accept4(2)
    accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) = SYS_accept4;
    /// setsockopt(2)
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t) = SYS_setsockopt;
    /// getsockopt(2)
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) = SYS_getsockopt;
}

/// Looks up all of them.
pub fn resolve() {
    socket::resolve();
    connect::resolve();
    accept::resolve();
    accept4::resolve();
    setsockopt::resolve();
    getsockopt::resolve();
}
