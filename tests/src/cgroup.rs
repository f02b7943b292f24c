//! Cgroups (v2) for tests, in a tree that is mounted where nobody else sees it.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Gid, Pid, Signal, Uid, kill_process};
use rustix::thread::{UnshareFlags, set_thread_gid, set_thread_groups, set_thread_uid, unshare_unsafe};

use crate::{Need, Result, is_root, until};

/// Where the tree is mounted, for those in our mount namespace alone.
const TREE: &str = "/mnt";

/// Moves this process into a mount namespace of its own with the tree in it. To be called before there are threads; without the
/// rights for it, nothing happens, and [`cgroups`] says so.
pub fn mount_cgroups() {
    if !is_root() {
        return;
    }
    // SAFETY: the table of descriptors stays shared.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    let private = unshared
        .and_then(|()| mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC));
    let _ = private.and_then(|()| mount("none", TREE, "cgroup2", MountFlags::empty(), None));
}

/// What a test needs that uses a [`Cgroup`].
pub fn cgroups() -> [Need; 2] {
    [
        Need::Root,
        Need::Kernel("cgroups of version 2 that can be mounted", || {
            Path::new(TREE).join("cgroup.procs").exists()
        }),
    ]
}

/// A cgroup of its own. Dropping it ends what is in it.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// A new one.
    pub fn new() -> Result<Self> {
        static SWEEP: OnceLock<()> = OnceLock::new();
        SWEEP.get_or_init(remove_leftovers);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(Path::new(TREE).join(format!("kashim-test-{}-{number}", process::id())))
    }

    /// One inside of this one.
    pub fn inner(&self, name: &str) -> Result<Self> {
        Self::at(self.0.join(name))
    }

    fn at(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its name in the tree.
    pub fn name(&self) -> String {
        self.0.strip_prefix(TREE).map_or_else(|_| String::new(), |name| format!("/{}", name.display()))
    }

    /// Starts in it every program that the action starts in this thread.
    pub fn enter<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let outer = CURRENT.replace(Some(self.0.join("cgroup.procs")));
        let result = action();
        CURRENT.set(outer);
        result
    }
}

thread_local! {
    /// The file by which the programs of this thread enter their cgroup.
    static CURRENT: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Where programs are to be started, if not where we are.
pub(crate) fn current() -> Option<PathBuf> {
    CURRENT.with_borrow(Clone::clone)
}

/// Has a program enter a cgroup, and become this user and group then.
pub(crate) fn start_in(command: &mut Command, cgroup: PathBuf, ids: Option<(u32, u32)>) -> Result {
    let procs = File::options().write(true).open(cgroup)?;
    let enter = move || {
        rustix::io::write(&procs, b"0")?;
        if let Some((uid, gid)) = ids {
            set_thread_groups(&[])?;
            set_thread_gid(Gid::from_raw(gid))?;
            set_thread_uid(Uid::from_raw(uid))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls, and nothing else.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = until("the cgroup to be empty", || {
            let members = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            Ok(fs::remove_dir(&self.0).is_ok().then_some(()))
        });
    }
}

/// Those of earlier runs that were killed. One that is new may be that of a run in another pid namespace.
fn remove_leftovers() {
    const OLD: Duration = Duration::from_secs(3600);
    for entry in fs::read_dir(TREE).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner =
            name.strip_prefix("kashim-test-").and_then(|rest| rest.split('-').next()?.parse::<i32>().ok());
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        let is_old = age().is_some_and(|age| age > OLD);
        if is_old && owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let mut inner: Vec<PathBuf> =
                fs::read_dir(entry.path()).into_iter().flatten().flatten().map(|e| e.path()).collect();
            inner.push(entry.path());
            inner.iter().for_each(|path| _ = fs::remove_dir(path));
        }
    }
}
