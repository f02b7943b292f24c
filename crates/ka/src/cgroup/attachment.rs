//! Attaching to a cgroup, finding what of ours is there, and detaching.
//!
//! Nothing is pinned: a program that is attached lives as long as the attachment, and its maps as long as the program.
//! What is attached is found again by asking the cgroup. So whatever happens to `ka` before the call that attaches,
//! nothing is left behind.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use kashim_policy::keepalive::Defaults;
use kashim_policy::settings::Settings;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::denial::{Step, check_kernel, explain};
use super::layout::{self, Numbers, Policy};
use super::namespaces;
use super::object::{DECIDE, HOLD, LoadError, MAPS, Maps, Program, load};
use super::syscall::{self, ALLOW_MULTI, ALLOW_OVERRIDE};
use super::tree::Cgroup;
use crate::cli::error::Error;
use crate::output::escape::escaped;

/// The programs in the kernel, not attached yet. They are gone when this is dropped.
#[derive(Debug)]
pub struct Loaded {
    decide: OwnedFd,
    /// With `--force` alone.
    hold: Option<OwnedFd>,
    /// What is set in each socket, by its descriptor.
    marks: OwnedFd,
}

impl Loaded {
    /// Loads them with these settings, and tells what the kernel may lack.
    pub fn new(settings: &Settings) -> Result<(Self, Option<String>), Error> {
        let warning = check_kernel()?;
        let namespaces = namespaces::with_own_defaults();
        // Before Linux 5.11 maps count as locked memory.
        let unlimited = Rlimit { current: None, maximum: None };
        let _ = setrlimit(Resource::Memlock, unlimited);
        let maps = Maps::create()?;
        let everywhere = (0, Defaults::LINUX);
        for (cookie, defaults) in std::iter::once(&everywhere).chain(&namespaces) {
            let value = Policy::new(settings, defaults).to_bytes();
            syscall::update(&maps.settings, &cookie.to_ne_bytes(), &value).map_err(LoadError::Map)?;
        }
        let hold = if settings.force { Some(load(&HOLD, &maps)?) } else { None };
        Ok((Self { decide: load(&DECIDE, &maps)?, hold, marks: maps.marks }, warning))
    }

    /// Has these values of a socket held, as if the program had set them. Without `--force` nobody does.
    pub fn mark(&self, socket: &OwnedFd, values: &Numbers) -> Result<(), Errno> {
        syscall::update(&self.marks, &socket.as_raw_fd().to_ne_bytes(), &layout::mark(values))
    }

    fn programs(&self) -> impl Iterator<Item = Program> {
        [Some(DECIDE), self.hold.is_some().then_some(HOLD)].into_iter().flatten()
    }

    /// Whether they would be attached in the place of something of ours; an error if they could not be.
    pub fn check(&self, cgroup: &Cgroup) -> Result<bool, Error> {
        self.in_place_of(cgroup).map(|old| !old.is_empty())
    }

    /// What of ours decides there now.
    fn in_place_of(&self, cgroup: &Cgroup) -> Result<Vec<OwnedFd>, Error> {
        for program in self.programs() {
            refuse_to_override(cgroup, &program)?;
        }
        ours(cgroup, &DECIDE)
    }

    /// Attaches them in the place of what we had there. Whether there was anything.
    pub fn attach(&self, cgroup: &Cgroup) -> Result<bool, Error> {
        lock(cgroup);
        let old = self.in_place_of(cgroup)?;
        let old_hold = ours(cgroup, &HOLD)?;
        // The one that holds values first: it holds only what its own other half has set.
        match &self.hold {
            Some(hold) => put(cgroup, hold, &HOLD, &old_hold)?,
            None => take_away(cgroup, &HOLD, &old_hold)?,
        }
        if let Err(error) = put(cgroup, &self.decide, &DECIDE, &old) {
            // As it was.
            match (&self.hold, old_hold.first()) {
                (Some(hold), None) => take_away(cgroup, &HOLD, std::slice::from_ref(hold))?,
                (Some(hold), Some(old)) => put(cgroup, old, &HOLD, std::slice::from_ref(hold))?,
                (None, Some(old)) => put(cgroup, old, &HOLD, &[])?,
                (None, None) => {}
            }
            return Err(error);
        }
        Ok(!old.is_empty())
    }
}

/// Of two at the same time one would not see what the other one attaches. Everybody may lock what everybody may open, so
/// nobody is waited for for long: one of us needs some milliseconds.
fn lock(cgroup: &Cgroup) {
    for _ in 0..500 {
        match flock(&cgroup.fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => sleep(Duration::from_millis(10)),
            _ => return,
        }
    }
}

/// Attaches a program in the place of the first of the old ones; others go.
fn put(cgroup: &Cgroup, new: &OwnedFd, program: &Program, old: &[OwnedFd]) -> Result<(), Error> {
    syscall::attach(&cgroup.fd, new, program.kind, old.first())
        .map_err(|errno| explain(Step::Attach, errno))?;
    take_away(cgroup, program, old.get(1..).unwrap_or_default())
}

fn take_away(cgroup: &Cgroup, program: &Program, old: &[OwnedFd]) -> Result<(), Error> {
    for old in old {
        match syscall::detach(&cgroup.fd, old, program.kind) {
            // Somebody else has done it.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(explain(Step::Detach, errno)),
        }
    }
    Ok(())
}

/// Detaches everything of ours. Whether there was anything.
pub fn detach(cgroup: &Cgroup) -> Result<bool, Error> {
    lock(cgroup);
    let mut any = false;
    // What holds values first: by itself it would go on with those that are set.
    for program in [HOLD, DECIDE] {
        let old = ours(cgroup, &program)?;
        any |= !old.is_empty();
        take_away(cgroup, &program, &old)?;
        if !ours(cgroup, &program)?.is_empty() {
            return Err(Error::new(format!(
                "{}: {} is still attached, by a BPF link of somebody's (bpftool link list); detach that",
                cgroup.shown(),
                program.name
            )));
        }
    }
    Ok(any)
}

/// An outer cgroup's program that lets inner ones take its place would no longer run here, and another owner's is not
/// ours to switch off.
fn refuse_to_override(cgroup: &Cgroup, program: &Program) -> Result<(), Error> {
    let own = syscall::query(&cgroup.fd, program.kind).map_err(|errno| explain(Step::Query, errno))?;
    if !own.ids.is_empty() && own.flags & ALLOW_MULTI == 0 {
        return Err(explain(Step::Attach, Errno::PERM));
    }
    let mut outer = fs::canonicalize(&cgroup.path).unwrap_or_else(|_| cgroup.path.clone());
    while outer.pop() {
        let Ok(directory) = fs::File::open(&outer) else { break };
        // Outside of the tree it is no cgroup any more.
        let Ok(query) = syscall::query(&directory, program.kind) else { break };
        if query.ids.is_empty() {
            continue;
        }
        if query.flags & (ALLOW_MULTI | ALLOW_OVERRIDE) == 0 {
            return Err(explain(Step::Attach, Errno::PERM));
        }
        if query.flags & ALLOW_MULTI == 0 && query.flags & ALLOW_OVERRIDE != 0 {
            return Err(Error::new(format!(
                "program {} is attached to {} so that it would no longer run for {} (BPF_F_ALLOW_OVERRIDE); attach to {} \
                 in place of it, or have that one attached with ALLOW_MULTI",
                query.ids.first().copied().unwrap_or(0),
                shown(&outer),
                cgroup.shown(),
                shown(&outer),
            )));
        }
        break;
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    escaped(path.as_os_str().as_encoded_bytes()).into_owned()
}

/// Which attached programs of this kind are ours: by their name, and that of a map. None where the cgroup has gone.
pub(super) fn ours(cgroup: &Cgroup, program: &Program) -> Result<Vec<OwnedFd>, Error> {
    let query = match syscall::query(&cgroup.fd, program.kind) {
        Err(Errno::NOENT | Errno::NODEV | Errno::BADF) => return Ok(Vec::new()),
        query => query.map_err(|errno| explain(Step::Query, errno))?,
    };
    let failed = |errno| explain(Step::Open, errno);
    let mut found = Vec::new();
    for id in query.ids {
        let other = match syscall::program(id) {
            Ok(other) => other,
            // Detached meanwhile.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        let (name, maps) = syscall::program_info(&other).map_err(failed)?;
        if name != program.name {
            continue;
        }
        for id in maps {
            let map = syscall::map(id).map_err(failed)?;
            let (name, _) = syscall::map_info(&map).map_err(failed)?;
            if MAPS.contains(&name.as_str()) {
                found.push(other);
                break;
            }
        }
    }
    Ok(found)
}
