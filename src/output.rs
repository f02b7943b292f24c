//! Writing to stderr and to a log file, so that the host does not notice.
//!
//! A file is opened in a child that has its own descriptor table, see [`apart`]. On stderr, which is open, we write
//! ourselves: a bad setting alone must not make a process have a child, at which a filter of its own may kill it.
//!
//! By plain system calls: `open`, `write` and `poll` of the C library are cancellation points, other preloaded
//! libraries stand before them, and `fstat` is not a symbol of glibc before 2.33.

use core::ffi::c_int;
use core::mem::{size_of, zeroed};
use core::ptr::null;

use libc::syscall;

use crate::apart::{Blocked, Signals, apart};
use crate::errno;

const FD: c_int = 2;

/// What stands on descriptor 2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stderr {
    device: u64,
    inode: u64,
    /// When a file was made, in seconds and nanoseconds, where that is known: its inode may be another's by now.
    made: (i64, u32),
}

impl Stderr {
    /// What stands there now, if it may be written to: something is open, and it is no internet socket, whose peer
    /// would read our words as data.
    pub fn now() -> Option<Stderr> {
        let (at, _) = Stderr::look()?;
        let mut domain: c_int = 0;
        let mut length = size_of::<c_int>() as libc::socklen_t;
        let (value, size) = (&raw mut domain, &raw mut length);
        // SAFETY: both point to variables of ours of the size that is said.
        let result =
            unsafe { syscall(libc::SYS_getsockopt, FD, libc::SOL_SOCKET, libc::SO_DOMAIN, value, size) };
        (result != 0 || !matches!(domain, libc::AF_INET | libc::AF_INET6)).then_some(at)
    }

    /// And whether it is a pipe.
    fn look() -> Option<(Stderr, bool)> {
        let stat = stat(FD)?;
        let is_pipe = stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
        Some((Stderr { device: stat.st_dev, inode: stat.st_ino, made: made(FD) }, is_pipe))
    }

    /// Writes text, if the same thing still stands on descriptor 2 and takes it at once.
    pub fn write(&self, text: &[u8]) {
        let Some(blocked) = Blocked::all() else { return };
        let Some((stderr, is_pipe)) = Stderr::look() else { return };
        if stderr != *self || !takes_more() {
            return;
        }
        let written = if is_pipe { write_now(text) } else { write(FD, text) };
        if !written {
            blocked.take_back(SIGNALS);
        }
    }
}

/// The signals that a write can bring about: no reader, a file that may not grow. (A terminal that is in somebody else's
/// hands is written to where SIGTTOU is blocked.)
const SIGNALS: Signals = 1 << (libc::SIGPIPE - 1) | 1 << (libc::SIGXFSZ - 1);

/// What a descriptor stands for.
fn stat(fd: c_int) -> Option<libc::stat> {
    // SAFETY: all zeroes are a `stat`.
    let mut stat = unsafe { zeroed::<libc::stat>() };
    // SAFETY: it points to a variable of ours, whose layout is the kernel's on 64-bit architectures.
    let result = unsafe { syscall(libc::SYS_fstat, fd, &raw mut stat) };
    (result == 0).then_some(stat)
}

/// When the file behind a descriptor was made; zero before Linux 4.11, and where that is not kept.
fn made(fd: c_int) -> (i64, u32) {
    // SAFETY: all zeroes are a `statx`.
    let mut stat = unsafe { zeroed::<libc::statx>() };
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: an empty path, and a variable of ours with the kernel's layout.
    unsafe { syscall(libc::SYS_statx, fd, path, flags, libc::STATX_BTIME, &raw mut stat) };
    (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)
}

/// Whether a write to descriptor 2 would not wait, and would not fail at once.
fn takes_more() -> bool {
    let mut poll = libc::pollfd { fd: FD, events: libc::POLLOUT, revents: 0 };
    // SAFETY: all zeroes are no time.
    let mut no_time = unsafe { zeroed::<libc::timespec>() };
    // SAFETY: both point to variables of ours; no signals are given.
    unsafe { syscall(libc::SYS_ppoll, &raw mut poll, 1, &raw mut no_time, null::<u64>(), 0) };
    poll.revents & libc::POLLOUT != 0 && poll.revents & libc::POLLERR == 0
}

/// Appends text to the file with this path, which a zero ends; makes the file if there is none. It must be a regular
/// file that belongs to the user who runs the program. Whatever goes wrong, the text is dropped.
pub fn to_file(path: &[u8], text: &[u8]) {
    // A FIFO must not hang the host, a link must not lead it elsewhere. The child, which is no session's leader and
    // executes nothing, needs neither O_NOCTTY nor O_CLOEXEC, and its end closes the file.
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    apart(|| {
        // SAFETY: the path ends with a zero.
        let fd = unsafe { syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
        // SAFETY: it takes nothing.
        let user = unsafe { syscall(libc::SYS_geteuid) };
        let ours =
            |stat: libc::stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG && i64::from(stat.st_uid) == user;
        if fd >= 0 && stat(fd as c_int).is_some_and(ours) {
            write(fd as c_int, text);
        }
    });
}

/// One write to the pipe on descriptor 2 that does not wait, also if somebody else has filled it since; whether it wrote
/// something. Before Linux 6.4 pipes do not know how.
fn write_now(text: &[u8]) -> bool {
    /// In the kernel's include/uapi/linux/fs.h.
    const RWF_NOWAIT: c_int = 8;
    let part = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    // SAFETY: one part, of so many bytes, which are only read; at no position.
    let result = unsafe { syscall(libc::SYS_pwritev2, FD, &raw const part, 1, -1i64, -1i64, RWF_NOWAIT) };
    if result < 0 && matches!(errno::last(), libc::EOPNOTSUPP | libc::ENOSYS) {
        return write(FD, text);
    }
    result >= 0
}

/// One write; whether it wrote something.
fn write(fd: c_int, text: &[u8]) -> bool {
    // SAFETY: so many bytes are there.
    unsafe { syscall(libc::SYS_write, fd, text.as_ptr(), text.len()) >= 0 }
}
