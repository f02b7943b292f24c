//! What is attached where, and what came of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::fstat;

use super::attachment::ours;
use super::denial::{Step, explain};
use super::layout::{Counts, Policy, SETTINGS_SIZE};
use super::object::{DECIDE, HOLD, MAPS};
use super::syscall;
use super::tree::{Cgroup, Tree};
use crate::cli::error::Error;

/// The cgroups, by their inodes, whose sockets an attachment of ours serves: those that have one, and all below. `None` if we
/// may not know.
pub fn served() -> Option<BTreeSet<u64>> {
    let mut served = BTreeSet::new();
    let mut outer: Option<PathBuf> = None;
    let all = Tree::find().ok()?.each(|cgroup| {
        // The tree is walked from the top on, so all below one follow at once.
        outer = outer.take().filter(|outer| cgroup.path.starts_with(outer));
        if outer.is_none() && !ours(&cgroup, &DECIDE)?.is_empty() {
            outer = Some(cgroup.path.clone());
        }
        if outer.is_some() {
            served.extend(fstat(&cgroup.fd).map(|stat| stat.st_ino));
        }
        Ok(())
    });
    all.ok().map(|()| served)
}

/// What is attached to a cgroup, as its maps tell.
#[derive(Debug)]
pub struct Attachment {
    /// What is done where the network namespace has Linux's own defaults. `None`: another version of ka has attached it.
    pub policy: Option<Policy>,
    /// What became of the sockets so far.
    pub counts: Counts,
    /// Whether the program is there that sets connections up. If not, the rest of an attempt that was killed is.
    pub decides: bool,
    /// Whether the program is there that holds what that one has set.
    pub holds: bool,
}

/// What of ours is attached to a cgroup.
pub fn read(cgroup: &Cgroup) -> Result<Option<Attachment>, Error> {
    let failed = |errno| explain(Step::Open, errno);
    let decide = ours(cgroup, &DECIDE)?;
    let hold = ours(cgroup, &HOLD)?;
    let Some(program) = decide.first().or(hold.first()) else { return Ok(None) };
    let maps = |program| syscall::program_info(program).map_err(failed).map(|(_, maps)| maps);
    let ids = maps(program)?;
    let mut attachment =
        Attachment { policy: None, counts: Counts::default(), decides: !decide.is_empty(), holds: false };
    if let Some(hold) = hold.first() {
        // Another one's does not know what this one has set.
        attachment.holds = attachment.decides && maps(hold)?.iter().any(|id| ids.contains(id));
    }
    for id in ids {
        let map = syscall::map(id).map_err(failed)?;
        let (name, size) = syscall::map_info(&map).map_err(failed)?;
        let [settings, counters, _] = MAPS;
        if name == settings && size as usize == SETTINGS_SIZE {
            let mut value = vec![0; SETTINGS_SIZE];
            syscall::look_up(&map, &0u64.to_ne_bytes(), &mut value).map_err(failed)?;
            attachment.policy = Policy::from_bytes(&value);
        } else if name == counters && size == 8 {
            for (key, count) in (0u32..).zip(&mut attachment.counts) {
                *count = sum(&map, key).map_err(failed)?;
            }
        }
    }
    Ok(Some(attachment))
}

/// A counter, of which each processor has its own.
fn sum(counters: &OwnedFd, key: u32) -> rustix::io::Result<u64> {
    let mut values = vec![0; 8 * possible_processors()];
    syscall::look_up(counters, &key.to_ne_bytes(), &mut values)?;
    let numbers = values.chunks_exact(8).map(|number| number.try_into().map_or(0, u64::from_ne_bytes));
    Ok(numbers.fold(0, u64::saturating_add))
}

/// How many values a per-processor map gives: `0-3`, or `0,2-5`, the last number counts.
fn possible_processors() -> usize {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<usize>().ok());
    // Enough for any: it is memory that the kernel writes to.
    last.map_or(8192, |n| n + 1)
}
