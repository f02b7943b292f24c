//! First: which sockets there are, and who holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::fd::AsFd;
use std::thread;

use rustix::io::Errno;

use super::config::Config;
use crate::cgroup::attached;
use crate::cli::error::Error;
use crate::output::escape::escaped;
use crate::parallel::in_parts;
use crate::process::denial::{Access, Denial};
use crate::process::netns;
use crate::process::pidfd::Processes;
use crate::process::scan::{self, Descriptor};
use crate::tcp::describe::describe;
use crate::tcp::sock_diag::{self, Sock};

/// A process that has sockets.
#[derive(Debug)]
pub struct ProcessSockets {
    /// Its number.
    pub pid: i32,
    /// Its name, as somebody chose it.
    pub name: Vec<u8>,
    /// Whether it is one of those that were asked for.
    selected: bool,
    sockets: Vec<Descriptor>,
    /// Its network namespace.
    namespace: Option<u64>,
}

/// A descriptor of one of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    inode: u32,
    /// Which of the processes.
    pub process: usize,
    /// The descriptor there.
    pub descriptor: Descriptor,
}

/// A connection or a listener.
#[derive(Debug)]
pub struct Found {
    /// What the kernel tells to everybody.
    pub sock: Sock,
    /// The network namespace that it was found in; `None` if it was only found in a process.
    pub namespace: Option<u64>,
    /// Who holds it, in [`Collection::holders`].
    pub holders: Range<usize>,
}

/// Everything that was found and is to be shown.
#[derive(Debug, Default)]
pub struct Collection {
    /// In the order of their processes and descriptors; at the end, by address, what no process holds.
    pub found: Vec<Found>,
    /// The processes with sockets.
    pub processes: Vec<ProcessSockets>,
    /// By socket.
    holders: Vec<Holder>,
    /// What could not be seen, a sentence each.
    pub notes: Vec<String>,
    /// Something that was asked for could not be looked into.
    pub incomplete: bool,
    /// Our own network namespace.
    pub own_namespace: Option<u64>,
    /// The cgroups that `ka attach` serves, if we may know.
    pub served: Option<BTreeSet<u64>>,
}

impl Collection {
    /// Who holds a socket; the first is the one that it is shown under.
    pub fn holders(&self, range: &Range<usize>) -> &[Holder] {
        self.holders.get(range.clone()).unwrap_or_default()
    }

    /// A process by its place in the list.
    pub fn process(&self, holder: &Holder) -> Option<&ProcessSockets> {
        self.processes.get(holder.process)
    }
}

/// Finds everything that is to be shown.
pub fn collect(config: &Config) -> Result<Collection, Error> {
    let own_namespace = scan::network_namespace("self").ok();
    let (own, scanned) = thread::scope(|scope| {
        // The two lists take the most time, and have nothing to do with each other.
        let own = scope.spawn(sock_diag::dump);
        let scanned = Scan::of(config);
        (own.join().unwrap_or(Err(Errno::CANCELED)), scanned)
    });
    let own = own.map_err(|error| {
        Error::new(format!("the kernel does not list its TCP sockets (netlink, sock_diag): {error}"))
    })?;
    let Scan { processes, mut notes, unseen_users } = scanned?;

    let mut holders: Vec<Holder> = Vec::with_capacity(processes.iter().map(|p| p.sockets.len()).sum());
    for (process, holding) in processes.iter().enumerate() {
        let of_it = |&descriptor: &Descriptor| Holder { inode: descriptor.inode, process, descriptor };
        holders.extend(holding.sockets.iter().map(of_it));
    }
    // Of those who share a socket, the first that was asked for comes first.
    holders.sort_unstable_by_key(|holder| {
        let selected = processes.get(holder.process).is_some_and(|process| process.selected);
        (holder.inode, !selected, holder.process, holder.descriptor)
    });

    let mut found = Vec::with_capacity(own.len());
    let mut add = |socks: Vec<Sock>, namespace| {
        let held = |sock: Sock| Found { holders: held(&holders, sock.inode), sock, namespace };
        found.extend(socks.into_iter().map(held));
    };
    add(own, own_namespace);
    let mut listed: Vec<u64> = own_namespace.into_iter().collect();
    for (namespace, pid) in other_namespaces(&processes, own_namespace) {
        // Where we may not enter, the copies of the sockets have to tell.
        let socks =
            scan::open_network_namespace(pid).and_then(|open| netns::within(open.as_fd(), sock_diag::dump));
        if let Ok(socks) = socks {
            add(socks, Some(namespace));
            listed.push(namespace);
        }
    }
    let unknown = unlisted(&processes, &listed, &holders, &mut found);
    if unknown > 0 {
        notes.push(format!(
            "{unknown} sockets of other network namespaces, or of other kinds, cannot be told apart without the right to \
             enter those or to copy these; run ka as root"
        ));
    }
    if let Some(peers) = &config.peers {
        found.retain(|row| !row.sock.listens() && peers.contains(row.sock.peer));
    }
    let is_selected = |row: &Found| {
        let first = holders.get(row.holders.clone()).and_then(<[Holder]>::first);
        first.map(|first| processes.get(first.process).is_some_and(|process| process.selected))
    };
    let mut hidden = 0;
    found.retain(|row| match is_selected(row) {
        Some(selected) => selected,
        None => {
            let shown = config.all || row.sock.uid.is_some_and(|uid| unseen_users.contains(&uid));
            hidden += usize::from(!shown);
            shown
        }
    });
    if hidden > 0 && config.selectors.is_empty() {
        notes.push(format!(
            "{hidden} more sockets have no process that you may look into, or none at all; --all shows them"
        ));
    }
    let incomplete = !unseen_users.is_empty() || unknown > 0 && !config.selectors.is_empty();
    let served = attached::served();
    let mut all = Collection { found, processes, holders, notes, incomplete, own_namespace, served };
    sort(&mut all);
    Ok(all)
}

/// What was found in /proc.
struct Scan {
    processes: Vec<ProcessSockets>,
    notes: Vec<String>,
    /// The users of processes that were asked for and may not be looked into.
    unseen_users: BTreeSet<u32>,
}

impl Scan {
    /// The sockets of the processes that are asked for. Where sockets without a holder are to be shown, too, all others
    /// are looked at: they may hold them.
    fn of(config: &Config) -> Result<Self, Error> {
        let all = scan::all();
        let mut selected = BTreeSet::new();
        for selector in &config.selectors {
            selected.extend(selector.find(&all)?);
        }
        let everybody = config.selectors.is_empty();
        let chosen = |pid: &i32| everybody || selected.contains(pid);
        let (mut asked_for, mut others): (Vec<i32>, Vec<i32>) = all.iter().partition(|pid| chosen(pid));
        let mut scan = Self { processes: Vec::new(), notes: Vec::new(), unseen_users: BTreeSet::new() };
        scan.look(&mut asked_for, true, !everybody);
        if config.all || !scan.unseen_users.is_empty() {
            scan.look(&mut others, false, false);
        }
        scan.processes.sort_by_key(|process| process.pid);
        Ok(scan)
    }

    fn look(&mut self, pids: &mut [i32], selected: bool, tell: bool) {
        // One by one, since one process can have more descriptors than all others.
        let one = |&pid: &i32| (pid, sockets_of(pid, selected));
        let found = in_parts(pids, 1, |pids| pids.iter().map(one).collect::<Vec<_>>());
        for (pid, found) in found.into_iter().flatten() {
            match found {
                Ok(found) => self.processes.extend(found),
                Err(error) if tell => self.refused(pid, error),
                Err(_) => {}
            }
        }
    }

    /// We may not look into this process.
    fn refused(&mut self, pid: i32, error: Errno) {
        let Some(denial) = Denial::diagnose(error, pid, Access::Read) else { return };
        let user = scan::credentials(&pid.to_string()).map_or(0, |who| who.uids[1]);
        self.notes.push(format!(
            "{pid} ({}): {denial}. Which connections it has cannot be seen; shown are those of user {user} that no \
             process has which you may look into",
            escaped(&scan::name(pid).unwrap_or_default())
        ));
        self.unseen_users.insert(user);
    }
}

/// The process with its sockets, if it has any.
fn sockets_of(pid: i32, selected: bool) -> Result<Option<ProcessSockets>, Errno> {
    let sockets = scan::sockets(pid)?;
    let Some(first) = sockets.first() else { return Ok(None) };
    let namespace = scan::network_namespace(&first.task.to_string()).ok();
    Ok(scan::name(pid).map(|name| ProcessSockets { pid, name, selected, sockets, namespace }))
}

/// The part of the sorted holders that has this socket.
fn held(holders: &[Holder], inode: u32) -> Range<usize> {
    if inode == 0 {
        return 0..0;
    }
    let start = holders.partition_point(|holder| holder.inode < inode);
    let length = holders.iter().skip(start).take_while(|holder| holder.inode == inode).count();
    start..start + length
}

/// Each other network namespace, with a task that is in it.
fn other_namespaces(processes: &[ProcessSockets], own: Option<u64>) -> BTreeMap<u64, i32> {
    let namespaces = processes.iter().filter_map(|p| Some((p.namespace?, p.sockets.first()?.task)));
    namespaces.filter(|&(namespace, _)| Some(namespace) != own).collect()
}

/// Adds TCP sockets that are in none of the lists: of a namespace that we may not enter, or one in which no process is
/// any more. Returns how many sockets of unlisted namespaces may be TCP, or not.
fn unlisted(
    processes: &[ProcessSockets],
    namespaces: &[u64],
    holders: &[Holder],
    found: &mut Vec<Found>,
) -> usize {
    let mut done = vec![false; holders.len()];
    for row in found.iter() {
        done.get_mut(row.holders.clone()).unwrap_or_default().fill(true);
    }
    let mut copies = Processes::default();
    let mut unknown = 0;
    for (at, holder) in holders.iter().enumerate() {
        let Some(holding) = processes.get(holder.process).filter(|_| done.get(at) == Some(&false)) else {
            continue;
        };
        if !holding.selected {
            continue;
        }
        match copies.socket(holding.pid, holder.descriptor) {
            Ok(socket) => {
                let holders = held(holders, holder.inode);
                done.get_mut(holders.clone()).unwrap_or_default().fill(true);
                let sock = describe(&socket, holder.inode);
                found.extend(sock.map(|sock| Found { sock, namespace: None, holders }));
            }
            Err(Errno::BADF | Errno::SRCH) => {}
            Err(_) if holding.namespace.is_none_or(|namespace| !namespaces.contains(&namespace)) => {
                unknown += 1;
            }
            Err(_) => {}
        }
    }
    unknown
}

/// By process and descriptor; at the end, what no process has, by address.
fn sort(all: &mut Collection) {
    let holders = &all.holders;
    let place = |row: &Found| {
        let first = holders.get(row.holders.clone()).and_then(<[Holder]>::first);
        first.map_or((usize::MAX, None), |first| (first.process, Some(first.descriptor)))
    };
    all.found.sort_by_cached_key(place);
    let held = all.found.partition_point(|row| !row.holders.is_empty());
    if let Some(unowned) = all.found.get_mut(held..) {
        unowned.sort_by_key(|row| (row.sock.local, row.sock.peer));
    }
}
