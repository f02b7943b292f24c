//! What our caller has handed on and Rust's runtime changes before `main`: it ignores SIGPIPE, and opens /dev/null where
//! one of the first three descriptors is closed. The command that we become has to find it as our caller left it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);
/// A bit for each of the descriptors 0, 1 and 2.
static CLOSED: AtomicU8 = AtomicU8::new(0);

#[used]
// SAFETY: the loader, or the C library's start, calls what stands there, once, before `main`; see `remember`.
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

/// Runs before the runtime does: only system calls, and nothing of std that needs it.
extern "C" fn remember() {
    // SAFETY: sigaction(2) writes into the place that it is given, and zeroes are one.
    let ignored = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    };
    IGNORES_SIGPIPE.store(ignored, Relaxed);
    let mut closed = 0;
    for descriptor in 0..3 {
        // SAFETY: F_GETFD changes nothing.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } == -1 {
            closed |= 1 << descriptor;
        }
    }
    CLOSED.store(closed, Relaxed);
}

/// Goes on where nobody reads what is written: for what must not stop halfway.
pub fn ignore_sigpipe() {
    // SAFETY: no handler is installed, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Makes it as it was. For the last moment before execve(2): what is written to a descriptor then that was closed goes
/// nowhere.
pub fn restore() {
    let disposition = if IGNORES_SIGPIPE.load(Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither is a handler.
    unsafe { libc::signal(libc::SIGPIPE, disposition) };
    for descriptor in 0..3 {
        if CLOSED.load(Relaxed) & (1 << descriptor) != 0 {
            // SAFETY: nobody owns it: it was closed when we started, and what is there now is the runtime's /dev/null.
            unsafe { libc::close(descriptor) };
        }
    }
}
