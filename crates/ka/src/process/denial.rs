//! Which rule forbids us to look into a process (ptrace(2), "Ptrace access mode checking").

use std::fmt;
use std::fs;

use rustix::io::Errno;
use rustix::process::getpid;

use crate::process::pidfd::Process;
use crate::process::scan::{self, Credentials, Descriptor};

/// What we wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To see which sockets it has.
    Read,
    /// To take hold of one.
    Attach,
}

/// The rule that refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// It belongs to somebody else.
    User {
        /// Who that is.
        theirs: u32,
        /// Who we are.
        ours: u32,
    },
    /// It has given up a privilege, or said so itself: then only root may look at it.
    NotDumpable,
    /// It may do more than we may.
    Capabilities,
    /// Yama's ptrace_scope.
    Yama(u8),
    /// A filter forbids the system call itself, on whatever process.
    Filter,
    /// The kernel has no pidfd_getfd(2).
    Kernel,
    /// The kernel has no pidfd of a thread.
    KernelForThreads,
    /// A user namespace that is not ours, or a security module.
    Other,
}

const CAP_SYS_PTRACE: u64 = 1 << 19;

impl Denial {
    /// Which rule made the system refuse with this error. `None`: none did, the process or its socket is gone.
    pub fn diagnose(error: Errno, pid: i32, access: Access) -> Option<Self> {
        match error {
            Errno::NOSYS => return Some(Self::Kernel),
            Errno::INVAL => return Some(Self::KernelForThreads),
            Errno::PERM | Errno::ACCESS => {}
            _ => return None,
        }
        if access == Access::Attach && !may_copy_at_all() {
            return Some(Self::Filter);
        }
        let us = scan::credentials("self")?;
        let them = scan::credentials(&pid.to_string())?;
        let dumpable = scan::owner(pid)? == them.uids[1];
        let yama = (access == Access::Attach).then(yama_scope).unwrap_or_default();
        Some(Self::among(&us, &them, dumpable, yama))
    }

    /// In the kernel's own order.
    fn among(us: &Credentials, them: &Credentials, dumpable: bool, yama: u8) -> Self {
        let same = |ours: u32, theirs: &[u32; 3]| theirs.iter().all(|&id| id == ours);
        let privileged = us.effective & CAP_SYS_PTRACE != 0;
        if yama == 3 {
            return Self::Yama(yama);
        }
        if privileged {
            return Self::Other;
        }
        if !same(us.uids[0], &them.uids) || !same(us.gids[0], &them.gids) {
            let other = them.uids.iter().find(|&&id| id != us.uids[0]);
            return match other {
                Some(&theirs) => Self::User { theirs, ours: us.uids[0] },
                None => Self::NotDumpable,
            };
        }
        if !dumpable {
            Self::NotDumpable
        } else if them.permitted & !us.permitted != 0 {
            Self::Capabilities
        } else if yama != 0 {
            Self::Yama(yama)
        } else {
            Self::Other
        }
    }

    /// One word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::User { .. } => "uid",
            Self::NotDumpable => "not-dumpable",
            Self::Capabilities => "capabilities",
            Self::Yama(_) => "yama",
            Self::Filter => "container-profile",
            Self::Kernel | Self::KernelForThreads => "kernel",
            Self::Other => "security-module",
        }
    }
}

impl fmt::Display for Denial {
    /// What refused, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { theirs, ours } => write!(
                f,
                "it belongs to user {theirs}, and you are user {ours}; run ka as that user, or as root"
            ),
            Self::NotDumpable => f.write_str(
                "the process is not dumpable (it changed its user, is setuid, or asked for it); run ka as root",
            ),
            Self::Capabilities => f.write_str("it has capabilities that you lack; run ka as root"),
            Self::Yama(1) => f.write_str(
                "Yama lets only a process's ancestors touch it (kernel.yama.ptrace_scope is 1); run ka as root",
            ),
            Self::Yama(2) => {
                f.write_str("Yama lets only root touch it (kernel.yama.ptrace_scope is 2); run ka as root")
            }
            Self::Yama(scope) => write!(
                f,
                "Yama lets nobody touch it (kernel.yama.ptrace_scope is {scope}, until the next boot)"
            ),
            Self::Filter => f.write_str(
                "a system call filter, such as a container's seccomp profile, forbids pidfd_getfd; run ka outside of the \
                 container, or give the container SYS_PTRACE (docker run --cap-add SYS_PTRACE)",
            ),
            Self::Kernel => f.write_str("pidfd_getfd needs Linux 5.6 or newer (or a filter hides it)"),
            Self::KernelForThreads => f.write_str(
                "a thread has descriptors of its own, or the main thread has ended, which takes Linux 6.9 or newer",
            ),
            Self::Other => f.write_str(
                "a security module, or a user namespace that is not yours; run ka as root outside of all containers",
            ),
        }
    }
}

/// Whether the system call works on ourselves, where no rule about processes forbids it.
fn may_copy_at_all() -> bool {
    let pid = getpid().as_raw_nonzero().get();
    let Ok(us) = Process::open(pid) else { return false };
    // No descriptor is known to be a socket: what counts is that it is not the permission that is missing.
    let nothing = Descriptor { task: pid, fd: i32::MAX, inode: 0 };
    !matches!(us.socket(nothing), Err(Errno::PERM | Errno::ACCESS))
}

fn yama_scope() -> u8 {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{CAP_SYS_PTRACE, Denial};
    use crate::process::scan::Credentials;

    fn user(id: u32) -> Credentials {
        Credentials { uids: [id; 3], gids: [id; 3], ..Credentials::default() }
    }

    #[test]
    fn each_rule_by_itself() {
        let us = user(1000);
        let root = Credentials { effective: CAP_SYS_PTRACE, permitted: CAP_SYS_PTRACE, ..user(0) };
        let able = Credentials { permitted: 1, ..user(1000) };
        let setgid = Credentials { gids: [1000, 43, 43], ..user(1000) };
        for (them, dumpable, yama, rule) in [
            (user(33), true, 1, Denial::User { theirs: 33, ours: 1000 }),
            (user(1000), false, 1, Denial::NotDumpable),
            (setgid, false, 0, Denial::NotDumpable),
            (able, true, 1, Denial::Capabilities),
            (user(1000), true, 1, Denial::Yama(1)),
            (user(1000), true, 2, Denial::Yama(2)),
            (user(33), true, 3, Denial::Yama(3)),
            (user(1000), true, 0, Denial::Other),
        ] {
            assert_eq!(Denial::among(&us, &them, dumpable, yama), rule);
        }
        assert_eq!(Denial::among(&root, &user(33), true, 3), Denial::Yama(3));
        assert_eq!(Denial::among(&root, &user(33), true, 1), Denial::Other);
    }
}
