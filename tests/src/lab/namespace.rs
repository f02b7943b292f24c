//! Network namespaces without a name: each lives as long as a handle to it, or a process in it, and then the kernel takes
//! it away with everything in it. So nothing has to be removed, whatever happens to the tests.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::process;
use std::sync::{Arc, Once};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::ip;
use crate::Result;
use crate::program::is_alive;

/// A network namespace. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// A new one, in which not even the loopback interface is up. Needs root and `ip`.
    pub fn new() -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(end_leftovers);
        // Only the thread that does it moves into the new namespace.
        let namespace = in_thread(|| {
            // SAFETY: it is about the table of descriptors that a thread has to be careful; that stays shared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .map_err(|error| format!("cannot make a namespace: {error}"))?;
            Ok(Self(Arc::new(File::open("/proc/thread-self/ns/net")?)))
        })?;
        // An interface whose name tells whose it is. Both ends are here: no other namespace takes it away.
        ip(&namespace, &[&format!("link add {MARK}{} type veth peer name mark", process::id())])?;
        Ok(namespace)
    }

    /// Does something inside. A socket that is made there belongs to the namespace for good, and a process that is
    /// started there stays there.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| format!("cannot enter a namespace: {error}"))?;
            action()
        })
    }

    /// A path by which `ip` finds it.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

fn in_thread<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(action).join())
        .unwrap_or_else(|_| Err("panicked in a namespace".into()))
}

/// Where a server listens and its clients find it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address.
    pub address: Ipv4Addr,
    /// The namespace that has the address, if it is not the one of the tests.
    pub namespace: Option<Namespace>,
}

impl Place {
    /// 127.0.0.1 of the machine that runs the tests.
    pub fn local() -> Self {
        Self { address: Ipv4Addr::LOCALHOST, namespace: None }
    }
}

const MARK: &str = "kashim.";

/// The processes in labs, each with the number of the process whose lab it is.
pub fn processes_in_labs() -> Vec<(i32, i32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let interfaces = fs::read_to_string(entry.path().join("net/dev")).unwrap_or_default();
        let owner = interfaces
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(MARK)?.split(':').next()?.parse().ok());
        found.extend(owner.map(|owner| (pid, owner)));
    }
    found
}

/// Ends the processes in labs whose owners are gone, as after a SIGKILL of everything at once.
fn end_leftovers() {
    for (pid, owner) in processes_in_labs() {
        if let (false, Some(pid)) = (is_alive(owner), Pid::from_raw(pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
