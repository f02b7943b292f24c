//! A cgroup of this process's own, with the program attached, for the command that it becomes.
//!
//! It is made below the cgroup that we are in, so that all limits still hold. Where systemd runs, it owns the tree, and
//! makes a scope for us: then only the program is attached here.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kashim_policy::settings::Settings;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, chdir, getpid, setsid};

use super::attachment::Loaded;
use super::denial::check_kernel;
use super::namespaces;
use super::tree::{Cgroup, Tree};
use crate::cli::error::Error;

/// The program, ready to be attached: everything that needs a right has been done but that.
pub struct Prepared {
    loaded: Loaded,
    tree: Tree,
    /// What the kernel may lack.
    pub warning: Option<String>,
}

/// Finds out whether it can be done at all.
pub fn prepare(settings: &Settings) -> Result<Prepared, Error> {
    let tree = Tree::find()?;
    let warning = check_kernel()?;
    let loaded = Loaded::new(settings, &namespaces::with_own_defaults())?;
    Ok(Prepared { loaded, tree, warning })
}

impl Prepared {
    /// Attaches it to the cgroup that we are in. Its name.
    pub fn attach_here(&self) -> Result<String, Error> {
        let cgroup = self.tree.of_process(getpid().as_raw_nonzero().get())?;
        self.loaded.attach(&cgroup)?;
        Ok(cgroup.shown())
    }

    /// Makes a cgroup, attaches it there, and moves us into it. The cgroup goes when the last process in it has gone. Its
    /// name.
    pub fn enter(&self) -> Result<String, Error> {
        let pid = getpid();
        let outer = self.tree.of_process(pid.as_raw_nonzero().get())?;
        let path = make_below(&outer, pid)?;
        let result = self.move_into(&path, &outer);
        if result.is_err() {
            let _ = fs::remove_dir(&path);
        }
        result
    }

    fn move_into(&self, path: &Path, outer: &Cgroup) -> Result<String, Error> {
        let cgroup = self.tree.open(path)?;
        self.loaded.attach(&cgroup)?;
        move_to(path).map_err(|error| Error::new(format!("cannot enter {}: {error}", cgroup.shown())))?;
        let shown = cgroup.shown();
        drop(cgroup);
        if let Err(error) = watch(path, &outer.path) {
            let _ = move_to(&outer.path);
            return Err(Error::new(format!("cannot watch over {shown}: {error}")));
        }
        Ok(shown)
    }
}

/// A directory of our own, by our number. Who had that number before may have left one, or still live in it.
fn make_below(outer: &Cgroup, pid: Pid) -> Result<PathBuf, Error> {
    let mut result = Ok(());
    for number in 0..8 {
        let again = if number == 0 { String::new() } else { format!("-{number}") };
        let path = outer.path.join(format!("kashim-run-{}{again}", pid.as_raw_nonzero()));
        let _ = fs::remove_dir(&path);
        result = fs::create_dir(&path);
        match &result {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(_) => break,
        }
    }
    let error = result.err().unwrap_or_else(|| ErrorKind::AlreadyExists.into());
    Err(Error::new(format!("cannot make a cgroup below {}: {error}", outer.shown())))
}

fn move_to(cgroup: &Path) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open(cgroup.join("cgroup.procs"))?.write_all(b"0")
}

/// Leaves a process behind that removes the cgroup once nobody is in it. It is not a child of ours, holds no descriptor of
/// ours, has no terminal, and is in the outer cgroup.
fn watch(cgroup: &Path, outer: &Path) -> std::io::Result<()> {
    match child() {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            let _ = setsid();
            if child() == 0 {
                watcher(cgroup, outer);
            }
            // SAFETY: ends the process, with nothing of our caller's to be cleaned up.
            unsafe { libc::_exit(0) }
        }
        child => {
            // SAFETY: nothing is asked for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WCLONE) };
            Ok(())
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

fn watcher(cgroup: &Path, outer: &Path) {
    // SAFETY: nothing is used afterwards that was open.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    let _ = chdir("/");
    let _ = move_to(outer);
    let Ok(events) = fs::File::open(cgroup.join("cgroup.events")) else { return };
    loop {
        let Ok(state) = fs::read_to_string(cgroup.join("cgroup.events")) else { return };
        if state.lines().any(|line| line == "populated 0") && remove(cgroup).is_ok() {
            return;
        }
        // The kernel tells of a change; what it may not tell is found out all the same.
        let mut change = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        let timeout = Timespec { tv_sec: Duration::from_secs(60).as_secs() as i64, tv_nsec: 0 };
        let _ = poll(&mut change, Some(&timeout));
    }
}

/// Removes it, with what the command has made below.
fn remove(cgroup: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

/// The command that has systemd run this one in a scope; `None` where systemd does not run (sd_booted(3)).
pub fn in_scope(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let this: PathBuf = std::env::current_exe().ok()?;
    let systemd_run = ["systemd-run", "--scope", "--quiet", "--collect", "--"].map(OsString::from);
    Some(systemd_run.into_iter().chain([this.into(), "run".into()]).chain(words).collect())
}
