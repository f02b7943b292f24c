//! Writing to descriptors of the host's, so that it does not notice.
//!
//! By plain system calls: `open`, `write`, `close` and `poll` of the C library are cancellation points, other
//! preloaded libraries stand before them, and `fstat` is not a symbol of glibc before 2.33.

use core::ffi::{c_int, c_long};
use core::mem::{size_of, zeroed};
use core::ptr::null;

use libc::syscall;

const FD: c_int = 2;

/// A set of signals as the kernel has it.
type Signals = u64;

/// The signals that a write can bring about: no reader, a file that may not grow, a terminal that is in somebody
/// else's hands.
const SIGNALS: Signals = signal(libc::SIGPIPE) | signal(libc::SIGXFSZ) | signal(libc::SIGTTOU);

const fn signal(number: c_int) -> Signals {
    1 << (number - 1)
}

/// What stands on descriptor 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stderr {
    device: u64,
    inode: u64,
}

impl Stderr {
    /// What stands there now, if it may be written to: something is open, and it is no internet socket, whose peer
    /// would read our words as data.
    pub fn now() -> Option<Stderr> {
        let at = Stderr::look()?;
        let mut domain: c_int = 0;
        let mut length = size_of::<c_int>() as libc::socklen_t;
        let (value, size) = (&raw mut domain, &raw mut length);
        // SAFETY: both point to variables of ours of the size that is said.
        let result =
            unsafe { syscall(libc::SYS_getsockopt, FD, libc::SOL_SOCKET, libc::SO_DOMAIN, value, size) };
        (result != 0 || !matches!(domain, libc::AF_INET | libc::AF_INET6)).then_some(at)
    }

    fn look() -> Option<Stderr> {
        // SAFETY: all zeroes are a `stat`.
        let mut stat = unsafe { zeroed::<libc::stat>() };
        // SAFETY: it points to a variable of ours, whose layout is the kernel's on 64-bit architectures.
        let result = unsafe { syscall(libc::SYS_fstat, FD, &raw mut stat) };
        (result == 0).then_some(Stderr { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Writes text, if the same thing still stands on descriptor 2 and takes it at once.
    pub fn write(&self, text: &[u8]) {
        if Stderr::look() != Some(*self) {
            return;
        }
        let mut poll = libc::pollfd { fd: FD, events: libc::POLLOUT, revents: 0 };
        // SAFETY: all zeroes are no time.
        let mut no_time = unsafe { zeroed::<libc::timespec>() };
        // SAFETY: both point to variables of ours; no signals are given.
        unsafe { syscall(libc::SYS_ppoll, &raw mut poll, 1, &raw mut no_time, null::<Signals>(), 0) };
        if poll.revents & libc::POLLOUT != 0 && poll.revents & libc::POLLERR == 0 {
            write(FD, text);
        }
    }
}

/// Appends text to the file with this path, which a zero ends; makes the file if there is none. Whatever goes wrong,
/// the text is dropped.
pub fn to_file(path: &[u8], text: &[u8]) {
    // A FIFO must not hang the host, a link must not lead it elsewhere, a terminal must not become its own.
    let flags = libc::O_WRONLY
        | libc::O_APPEND
        | libc::O_CREAT
        | libc::O_CLOEXEC
        | libc::O_NOCTTY
        | libc::O_NONBLOCK
        | libc::O_NOFOLLOW;
    // SAFETY: the path ends with a zero.
    let opened = unsafe { syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
    if opened < 0 {
        return;
    }
    // A host that has closed its standard descriptors must not find our file in their place.
    let fd = if opened <= 2 {
        // SAFETY: numbers.
        let moved = unsafe { syscall(libc::SYS_fcntl, opened, libc::F_DUPFD_CLOEXEC, 3) };
        close(opened);
        moved
    } else {
        opened
    };
    if fd >= 0 {
        write(fd as c_int, text);
        close(fd);
    }
}

fn close(fd: c_long) {
    // SAFETY: the descriptor is ours.
    unsafe { syscall(libc::SYS_close, fd) };
}

/// One write, whose signals the host does not see.
fn write(fd: c_int, text: &[u8]) {
    let size = size_of::<Signals>();
    let (mut before, mut pending): (Signals, Signals) = (0, 0);
    // SAFETY: all point to variables of ours of the size that is said.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const SIGNALS_BLOCKED, &raw mut before, size);
        syscall(libc::SYS_rt_sigpending, &raw mut pending, size);
    }
    // SAFETY: so many bytes are there.
    let written = unsafe { syscall(libc::SYS_write, fd, text.as_ptr(), text.len()) };
    if written < 0 {
        // The signal that came with the error is taken back, unless one was waiting for the host before.
        let ours: Signals = SIGNALS & !pending;
        // SAFETY: all zeroes are no time.
        let no_time = unsafe { zeroed::<libc::timespec>() };
        // SAFETY: both point to variables of ours; no information is asked for.
        unsafe {
            syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const ours,
                null::<libc::siginfo_t>(),
                &raw const no_time,
                size,
            )
        };
    }
    // SAFETY: it points to a variable of ours of the size that is said.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const before, null::<Signals>(), size);
    }
}

static SIGNALS_BLOCKED: Signals = SIGNALS;
