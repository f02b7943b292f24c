//! A process that makes a cgroup for another one, and removes it once nobody is in it any more.
//!
//! It is there before the cgroup is, so that nothing is left whenever its maker ends. It is no child of the maker's, which
//! becomes a command that would not know it; it holds no descriptor of the maker's, has no terminal, takes no signal, and is
//! in the topmost cgroup, where nobody who ends the command's processes meets it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, chdir, child_subreaper, getpid, set_child_subreaper, setsid};
use rustix::thread::set_name;

/// What the names of the cgroups begin with.
const NAMED: &str = "kashim-run-";

/// A cgroup that somebody watches over.
#[derive(Debug)]
pub struct Watched {
    /// Its directory.
    pub path: PathBuf,
    /// As long as it is open, and it is closed by execve(2), the cgroup stays though nobody is in it.
    _stays: OwnedFd,
}

/// Has a process make a cgroup below `outer`, named for us, and watch over it from the cgroup `top`.
pub fn make(outer: &Path, top: &Path) -> io::Result<Watched> {
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let (gone, stays) = pipe_with(PipeFlags::CLOEXEC)?;
    // Or it would become a child of ours when its parent ends.
    let reaper = child_subreaper()?;
    if reaper.is_some() {
        set_child_subreaper(None)?;
    }
    let maker = getpid();
    let result = start(|| watch(outer, top, maker, &tell, &gone));
    if reaper.is_some() {
        set_child_subreaper(reaper)?;
    }
    result?;
    drop((tell, gone));
    let mut answer = Vec::new();
    File::from(told).read_to_end(&mut answer)?;
    match answer.split_first() {
        Some((b'/', _)) => Ok(Watched { path: OsString::from_vec(answer).into(), _stays: stays }),
        Some((&errno, _)) => Err(io::Error::from_raw_os_error(errno.into())),
        None => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
    }
}

/// Runs `work` in a grandchild of ours, of which nothing tells us.
fn start(work: impl FnOnce()) -> io::Result<()> {
    match child() {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let _ = setsid();
            let status = match child() {
                -1 => io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN),
                0 => {
                    work();
                    0
                }
                _ => 0,
            };
            // SAFETY: ends the process, with nothing of our caller's to be cleaned up.
            unsafe { libc::_exit(status) }
        }
        child => {
            let mut status = 0;
            // SAFETY: it points to a variable of ours.
            let waited = unsafe { libc::waitpid(child, &raw mut status, libc::__WCLONE) };
            match libc::WEXITSTATUS(status) {
                errno if waited == child && errno != 0 => Err(io::Error::from_raw_os_error(errno)),
                _ => Ok(()),
            }
        }
    }
}

/// As fork(2), but that no signal tells of its end: where the caller has blocked SIGCHLD, the command would get it.
fn child() -> libc::pid_t {
    let nothing = 0usize;
    // SAFETY: without CLONE_VM it is a copy of this process, as fork makes one; this program has one thread here, so
    // nobody else holds a lock.
    let child = unsafe { libc::syscall(libc::SYS_clone, nothing, nothing, nothing, nothing, nothing) };
    child as libc::pid_t
}

/// What the grandchild does.
fn watch(outer: &Path, top: &Path, maker: Pid, tell: &OwnedFd, gone: &OwnedFd) {
    // SAFETY: a set that is filled before it is used; nobody else runs here.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, null_mut());
    }
    close_all_but(tell.as_raw_fd(), gone.as_raw_fd());
    let _ = chdir("/");
    let _ = take_a_name(maker);
    let _ = move_to(top);
    sweep(outer);
    let made = make_below(outer, maker);
    let answer = match &made {
        Ok(path) => path.as_os_str().as_bytes().to_vec(),
        Err(error) => {
            vec![error.raw_os_error().and_then(|errno| u8::try_from(errno).ok()).unwrap_or(libc::EIO as u8)]
        }
    };
    let told = tell.try_clone().map(File::from).and_then(|mut tell| tell.write_all(&answer));
    // SAFETY: it is not used any more; who reads waits for its end.
    unsafe { libc::close(tell.as_raw_fd()) };
    let Ok(path) = made else { return };
    if told.is_ok() {
        // Until the maker has become the command, or has ended.
        let waited = gone.try_clone().map(File::from).and_then(|mut gone| gone.read_to_end(&mut Vec::new()));
        let _ = waited;
    }
    remove_when_empty(&path);
}

/// Has its own name and command line, or who ends the command by its own would end this one too.
fn take_a_name(maker: Pid) -> Option<()> {
    let line = format!("ka-watcher {}", maker.as_raw_nonzero());
    let _ = set_name(c"ka-watcher");
    // Where the arguments are (proc_pid_stat(5): 48 and 49, counted from behind the name, which is 2).
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(45);
    let mut next = || fields.next()?.parse::<usize>().ok();
    let (begin, end) = (next()?, next()?);
    let length = end.checked_sub(begin)?;
    // SAFETY: the kernel has put the arguments there, on the stack, which can be written. Nobody reads them any more in this
    // process: it does nothing but what stands in `watch`.
    let arguments = unsafe { std::slice::from_raw_parts_mut(begin as *mut u8, length) };
    arguments.fill(0);
    // The last byte ends it.
    arguments
        .iter_mut()
        .take(length.saturating_sub(1))
        .zip(line.bytes())
        .for_each(|(place, byte)| *place = byte);
    Some(())
}

/// Removes what others of our kind have left that were killed. One that is new may be about to be entered.
fn sweep(outer: &Path) {
    const NEW: Duration = Duration::from_secs(10);
    for entry in fs::read_dir(outer).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().as_bytes().starts_with(NAMED.as_bytes());
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours && age().is_some_and(|age| age > NEW) && is_empty(&entry.path()) {
            let _ = remove(&entry.path());
        }
    }
}

fn is_empty(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|state| says_empty(&state))
}

/// Whether cgroup.events says that nobody is in the cgroup, nor in one below.
fn says_empty(state: &str) -> bool {
    state.lines().any(|line| line == "populated 0")
}

/// Closes all descriptors but these two.
fn close_all_but(one: i32, other: i32) {
    let (low, high) = (one.min(other), one.max(other));
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: nothing is used afterwards that was open there.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Moves the calling process into a cgroup.
pub fn move_to(cgroup: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(cgroup.join("cgroup.procs"))?.write_all(b"0")
}

/// A directory named for a process. Who had its number before, or has it in another pid namespace, may still have one.
fn make_below(outer: &Path, maker: Pid) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let again = if number == 0 { String::new() } else { format!("-{number}") };
        let path = outer.join(format!("{NAMED}{}{again}", maker.as_raw_nonzero()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 1000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Waits until nobody is in the cgroup, and removes it, with what the command has made below.
fn remove_when_empty(path: &Path) {
    let Ok(mut events) = File::open(path.join("cgroup.events")) else { return };
    loop {
        let mut state = String::new();
        // The kernel tells of a change of what was read last.
        let read = events.rewind().and_then(|()| events.read_to_string(&mut state));
        if read.is_err() || (says_empty(&state) && remove(path).is_ok()) {
            return;
        }
        let mut change = [PollFd::new(&events, PollFlags::PRI)];
        // And what it may not tell is found out all the same.
        let _ = poll(&mut change, Some(&Timespec { tv_sec: 60, tv_nsec: 0 }));
    }
}

fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}
