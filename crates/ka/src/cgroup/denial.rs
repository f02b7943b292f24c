//! Why the kernel lets us attach nothing, in words.

use std::fs;

use rustix::io::Errno;
use rustix::system::uname;

use super::object::LoadError;
use crate::cli::error::Error;
use crate::process::scan;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making a map.
    Map,
    /// Loading a program.
    Load,
    /// Attaching it.
    Attach,
    /// Detaching it.
    Detach,
    /// Asking what is attached.
    Query,
    /// Opening a program or a map that is in the kernel.
    Open,
}

impl Step {
    fn text(self) -> &'static str {
        match self {
            Self::Map => "cannot make a BPF map",
            Self::Load => "cannot load the BPF program",
            Self::Attach => "cannot attach the BPF program",
            Self::Detach => "cannot detach the BPF program",
            Self::Query => "cannot ask which BPF programs are attached",
            Self::Open => "cannot look at the BPF programs that are attached",
        }
    }

    /// The capabilities that it takes, by capabilities(7).
    fn needs(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Map | Self::Load => &[BPF, NET_ADMIN],
            Self::Attach | Self::Detach | Self::Query => &[NET_ADMIN],
            Self::Open => &[SYS_ADMIN],
        }
    }
}

const NET_ADMIN: (&str, u64) = ("CAP_NET_ADMIN", 1 << 12);
const SYS_ADMIN: (&str, u64) = ("CAP_SYS_ADMIN", 1 << 21);
const BPF: (&str, u64) = ("CAP_BPF", 1 << 39);

/// What the kernel is by its own account.
fn release() -> String {
    uname().release().to_string_lossy().into_owned()
}

/// Major and minor number.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// An error if the kernel is too old; a warning if it may be: distributions bring new BPF into old kernels.
pub fn check_kernel() -> Result<Option<String>, Error> {
    let release = release();
    match version(&release) {
        (0..5, _) | (5, 0..9) => Err(Error::new(format!(
            "attaching needs Linux 6.1 or newer, and this is {release}; 5.9 is the first whose BPF programs can set \
             keepalive. Use ka run, or ka set for what runs already"
        ))),
        (5, _) | (6, 0) => Ok(Some(format!(
            "this is Linux {release}, and BPF programs can read keepalive options since 6.1 only. If your distribution \
             has not backported that, every connection is left alone; ka attached then counts them as unreadable"
        ))),
        _ => Ok(None),
    }
}

/// What the kernel refused, why, and what to do.
pub fn explain(step: Step, errno: Errno) -> Error {
    let reason = match errno {
        Errno::NOSYS => "this kernel has no bpf(2) (CONFIG_BPF_SYSCALL), or a filter hides it".to_owned(),
        Errno::PERM | Errno::ACCESS => why_not_permitted(step),
        Errno::INVAL if step == Step::Attach => {
            "this kernel was built without BPF for cgroups (CONFIG_CGROUP_BPF)".to_owned()
        }
        Errno::TOOBIG if step == Step::Attach => {
            "as many programs as the kernel allows, 64, are attached there already".to_owned()
        }
        Errno::NOENT | Errno::NODEV if step == Step::Attach => {
            "the cgroup has gone, or its program is held by a BPF link of somebody's (bpftool link list)"
                .to_owned()
        }
        errno => errno.to_string(),
    };
    Error::new(format!("{}: {reason}", step.text()))
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Object(text) => Self::new(format!("cannot load the BPF program: {text}")),
            LoadError::Map(errno) => explain(Step::Map, errno),
            // Only these are the verifier's.
            LoadError::Program(errno, _)
                if !matches!(errno, Errno::INVAL | Errno::ACCESS | Errno::TOOBIG) =>
            {
                explain(Step::Load, errno)
            }
            LoadError::Program(errno, log) => Self::new(format!(
                "this kernel ({}) does not take the BPF program: {errno}; its verifier says: {}",
                release(),
                crate::output::escape::escaped(log.as_bytes())
            )),
        }
    }
}

/// The facts by which a missing permission is told.
struct Facts {
    effective: u64,
    /// Root of a user namespace, not of the machine.
    mapped: bool,
    filtered: bool,
    locked: bool,
}

fn why_not_permitted(step: Step) -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = text("/proc/self/status");
    let map = text("/proc/self/uid_map");
    let facts = Facts {
        effective: scan::credentials("self").map_or(0, |us| us.effective),
        mapped: !map.split_whitespace().eq(["0", "0", "4294967295"]),
        filtered: status
            .lines()
            .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")),
        locked: text("/sys/kernel/security/lockdown").contains("[confidentiality]"),
    };
    among(step, &facts)
}

fn among(step: Step, facts: &Facts) -> String {
    // Everything that CAP_BPF allows CAP_SYS_ADMIN does too.
    let has = |(_, bit): (&str, u64)| {
        let bits = if bit == BPF.1 { BPF.1 | SYS_ADMIN.1 } else { bit };
        facts.effective & bits != 0
    };
    let missing: Vec<_> = step.needs().iter().filter(|&&need| !has(need)).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        return format!(
            "{} missing; run ka as root{}",
            missing.join(" and "),
            match step {
                Step::Open => "",
                _ => ", or with CAP_BPF and CAP_NET_ADMIN",
            }
        );
    }
    if facts.mapped {
        return "you are root of a user namespace only, as in a rootless container; run ka as the machine's root".to_owned();
    }
    if facts.filtered {
        return "a system call filter, such as a container's seccomp profile, forbids it; run ka outside of the container, or \
                give it BPF, NET_ADMIN and SYS_ADMIN (docker run --cap-add)"
            .to_owned();
    }
    if step == Step::Attach {
        return "a program of another owner is attached to the cgroup, or to one that it is in, and allows none beside \
                it (bpftool cgroup tree shows them)"
            .to_owned();
    }
    if facts.locked {
        return "the kernel is locked down (/sys/kernel/security/lockdown)".to_owned();
    }
    "a security module forbids it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Facts, Step, among, version};

    #[test]
    fn versions() {
        assert_eq!(version("6.1.0-18-amd64"), (6, 1));
        assert_eq!(version("5.14.0-427.el9.x86_64"), (5, 14));
        assert_eq!(version("6.18-rc1"), (6, 18));
        assert_eq!(version(""), (0, 0));
    }

    #[test]
    fn each_reason_by_itself() {
        let all = Facts { effective: u64::MAX, mapped: false, filtered: false, locked: false };
        for (step, facts, words) in [
            (Step::Load, Facts { effective: 0, ..all }, "CAP_BPF and CAP_NET_ADMIN missing"),
            (Step::Load, Facts { effective: 1 << 21, ..all }, "CAP_NET_ADMIN missing"),
            (
                Step::Open,
                Facts { effective: 1 << 39 | 1 << 12, ..all },
                "CAP_SYS_ADMIN missing; run ka as root",
            ),
            (Step::Load, Facts { mapped: true, filtered: true, ..all }, "rootless"),
            (Step::Load, Facts { filtered: true, ..all }, "container's seccomp profile"),
            (Step::Load, Facts { locked: true, ..all }, "locked down"),
            (Step::Attach, all, "another owner"),
        ] {
            let said = among(step, &facts);
            assert!(said.contains(words), "{said}");
        }
    }
}
