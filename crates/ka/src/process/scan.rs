//! Processes, as /proc shows them. Names are bytes: anybody may give a process any name.

use std::fs::{self, File};
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::{Errno, Result};

/// The numbers of all processes, in order.
pub fn all() -> Vec<i32> {
    numbers("/proc")
}

/// The entries of a directory that are numbers, in order.
fn numbers(directory: &str) -> Vec<i32> {
    let mut numbers: Vec<i32> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The name of the process, as ps shows it: up to 15 bytes, which the process may choose itself.
pub fn name(pid: i32) -> Option<Vec<u8>> {
    let line = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(line.strip_suffix(b"\n").unwrap_or(&line).to_owned())
}

/// Whether the process can be meant by this name: as ps shows it, as it was called, or as the file that it runs.
pub fn is_called(pid: i32, wanted: &[u8]) -> bool {
    let called = |task: i32| {
        let line = fs::read(format!("/proc/{task}/cmdline")).unwrap_or_default();
        let first = line.split(|&b| b == 0).next().unwrap_or_default();
        base_name(first) == wanted
    };
    let runs = |task: i32| {
        let link = fs::read_link(format!("/proc/{task}/exe"));
        link.is_ok_and(|path| base_name(&path.into_os_string().into_vec()) == wanted)
    };
    // A main thread that has ended no longer shows what the threads share.
    let by_file = |task| called(task) || runs(task);
    name(pid).as_deref() == Some(wanted) || by_file(living_task(pid))
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// The process that a number stands for: a thread's stands for its process.
pub fn process_of(number: i32) -> Option<i32> {
    let status = fs::read(format!("/proc/{number}/status")).ok()?;
    std::str::from_utf8(field(&status, "Tgid:")?).ok()?.trim().parse().ok()
}

/// A field of /proc/PID/status.
fn field<'a>(status: &'a [u8], name: &str) -> Option<&'a [u8]> {
    status.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))
}

/// KCMP_FILES, kcmp(2).
const KCMP_FILES: libc::c_long = 2;

/// The tasks of a process by whose descriptor tables all of its descriptors are found: as a rule its main thread alone.
/// That is missing where it has ended and others go on, and a thread may have a table of its own (unshare(2),
/// CLONE_FILES). Threads of which it cannot be told count as if they shared that of the first.
pub fn tables(pid: i32) -> Vec<i32> {
    let mut tasks = numbers(&format!("/proc/{pid}/task"));
    if tasks.len() > 1 && has_ended(pid) {
        tasks.retain(|&task| task != pid);
    }
    let mut found: Vec<i32> = Vec::new();
    for task in tasks {
        let is_new = found.iter().all(|&other| {
            // SAFETY: kcmp(2) takes numbers.
            unsafe { libc::syscall(libc::SYS_kcmp, task, other, KCMP_FILES, 0, 0) > 0 }
        });
        if is_new {
            found.push(task);
        }
    }
    found
}

/// Whether this thread has ended, and only its number is left.
fn has_ended(task: i32) -> bool {
    let status = fs::read(format!("/proc/{task}/status")).unwrap_or_default();
    field(&status, "State:").is_some_and(|state| state.trim_ascii_start().starts_with(b"Z"))
}

/// A task of the process that has not ended: what a process shares among its threads can be read there.
pub fn living_task(pid: i32) -> i32 {
    if has_ended(pid) { tables(pid).first().copied().unwrap_or(pid) } else { pid }
}

/// A descriptor of a process that is a socket of whatever kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor {
    /// The task in whose table it is.
    pub task: i32,
    /// Its number.
    pub fd: i32,
    /// The socket; no other one in the system has the same number at the same time.
    pub inode: u32,
}

/// The descriptors of a process that are sockets, in all of its tables. `EACCES` or `EPERM` if we may not look at them.
pub fn sockets(pid: i32) -> Result<Vec<Descriptor>> {
    let mut sockets = Vec::new();
    for task in tables(pid) {
        sockets_in(task, &mut sockets)?;
    }
    Ok(sockets)
}

fn sockets_in(task: i32, sockets: &mut Vec<Descriptor>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, format!("/proc/{task}/fd"), flags, Mode::empty())?;
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
        let Some(fd) = number else { continue };
        let mut target = [MaybeUninit::<u8>::uninit(); 32];
        match readlinkat_raw(&directory, entry.file_name(), &mut target[..]) {
            Ok((text, _)) => sockets.extend(inode(text).map(|inode| Descriptor { task, fd, inode })),
            // Closed meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The number in `socket:[NUMBER]`.
fn inode(target: &[u8]) -> Option<u32> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The number of the network namespace of a process, as in the links of /proc/PID/ns; of our own for "self".
pub fn network_namespace(pid: &str) -> std::io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/net"))?.ino())
}

/// The network namespace of a process, for entering it.
pub fn open_network_namespace(pid: i32) -> Result<OwnedFd> {
    openat(CWD, format!("/proc/{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether the library is in the process; nothing if we may not look.
pub fn is_preloaded(pid: i32) -> Option<bool> {
    let mut maps = Vec::new();
    File::open(format!("/proc/{}/maps", living_task(pid))).ok()?.read_to_end(&mut maps).ok()?;
    // A process that has no memory (any more) has no library either, and cannot be told from one that hides it.
    if maps.is_empty() {
        return None;
    }
    Some(maps.split(|&b| b == b'\n').any(is_library))
}

/// Whether a line of /proc/PID/maps is one of the library.
fn is_library(line: &[u8]) -> bool {
    let line = line.strip_suffix(b" (deleted)").unwrap_or(line);
    base_name(line) == b"libkashim.so" && line.len() > b"libkashim.so".len()
}

/// What /proc/PID/status says about who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user.
    pub uids: [u32; 3],
    /// Real, effective and saved group.
    pub gids: [u32; 3],
    /// CapPrm, a bit for each capability.
    pub permitted: u64,
    /// CapEff.
    pub effective: u64,
    /// The parent.
    pub parent: i32,
}

/// Who a process is; "self" for ourselves.
pub fn credentials(pid: &str) -> Option<Credentials> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let field = |name| std::str::from_utf8(field(&status, name)?).ok();
    let three = |name| {
        let mut numbers = field(name)?.split_ascii_whitespace().map_while(|n| n.parse().ok());
        Some([numbers.next()?, numbers.next()?, numbers.next()?])
    };
    let set = |name| u64::from_str_radix(field(name)?.trim(), 16).ok();
    Some(Credentials {
        uids: three("Uid:")?,
        gids: three("Gid:")?,
        permitted: set("CapPrm:")?,
        effective: set("CapEff:")?,
        parent: field("PPid:")?.trim().parse().ok()?,
    })
}

/// Who owns what is private in /proc/PID: root, in place of the effective user, if the process is not dumpable (proc(5)).
pub fn owner(pid: i32) -> Option<u32> {
    Some(fs::metadata(format!("/proc/{pid}/fd")).ok()?.uid())
}

#[cfg(test)]
mod tests {
    use super::{inode, is_library};

    #[test]
    fn only_sockets_have_a_number() {
        assert_eq!(inode(b"socket:[4711]"), Some(4711));
        for other in [&b"pipe:[4711]"[..], b"socket:[", b"socket:[x]", b"/tmp/socket:[1]", b""] {
            assert_eq!(inode(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_library_by_its_name() {
        assert!(is_library(b"7f00-7f01 r-xp 00000000 fe:00 12 /usr/lib/libkashim.so"));
        assert!(is_library(b"7f00-7f01 r-xp 00000000 fe:00 12 /a b/libkashim.so (deleted)"));
        assert!(!is_library(b"7f00-7f01 r-xp 00000000 fe:00 12 /usr/lib/libkashim.so.bak"));
        assert!(!is_library(b"7f00-7f01 r-xp 00000000 fe:00 12 /usr/lib/notlibkashim.so"));
    }
}
