//! Finding the connections, and who holds them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::AsFd;
use std::thread;

use rustix::io::Errno;
use rustix::process::getuid;

use super::config::Config;
use super::values::{self, Values};
use crate::cli::error::Error;
use crate::cli::selector::Selector;
use crate::output::escape::escaped;
use crate::parallel::in_parts;
use crate::process::denial::{Access, Denial};
use crate::process::netns;
use crate::process::pidfd::{self, Processes};
use crate::process::scan::{self, Descriptor};
use crate::tcp::sock_diag::{self, Sock};

/// A process that holds a connection, or might.
#[derive(Debug)]
pub struct ProcessSockets {
    /// Its number.
    pub pid: i32,
    /// Its name, as somebody chose it.
    pub name: Vec<u8>,
    /// Whether the library is in it, if we may look.
    pub hooked: Option<bool>,
    sockets: Vec<Descriptor>,
    /// Its network namespace, if it has sockets.
    namespace: Option<u64>,
}

/// A descriptor of one of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    inode: u32,
    /// Which of the processes.
    pub process: usize,
    /// The descriptor there.
    pub fd: i32,
}

impl Holder {
    /// The descriptor with what it is to refer to.
    pub fn descriptor(self) -> Descriptor {
        Descriptor { fd: self.fd, inode: self.inode }
    }
}

/// A connection or a listener.
#[derive(Debug)]
pub struct Row {
    /// What the kernel tells to everybody.
    pub sock: Sock,
    /// The network namespace that it was found in; `None` if it was only found in a process.
    pub namespace: Option<u64>,
    /// Who holds it, in [`Report::holders`].
    holders: Range<usize>,
    /// What it is set to.
    pub values: Values,
}

/// All that is to be shown.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of their processes and descriptors.
    pub rows: Vec<Row>,
    /// The processes that were looked at.
    pub processes: Vec<ProcessSockets>,
    holders: Vec<Holder>,
    /// What could not be seen, a sentence each.
    pub notes: Vec<String>,
    /// Our own network namespace.
    pub own_namespace: Option<u64>,
}

impl Report {
    /// Who holds this connection; the first is the one that it is shown under.
    pub fn holders(&self, row: &Row) -> &[Holder] {
        self.holders.get(row.holders.clone()).unwrap_or_default()
    }

    /// A process by its place in the list.
    pub fn process(&self, holder: Holder) -> Option<&ProcessSockets> {
        self.processes.get(holder.process)
    }
}

/// Finds everything that is to be shown.
pub fn gather(config: &Config) -> Result<Report, Error> {
    let own_namespace = scan::network_namespace("self").ok();
    let (own, processes) = thread::scope(|scope| {
        // The two lists take the most time, and have nothing to do with each other.
        let own = scope.spawn(sock_diag::dump);
        let processes = look(&config.selectors);
        (own.join().unwrap_or(Err(Errno::CANCELED)), processes)
    });
    let own = own.map_err(|error| {
        Error::new(format!("the kernel does not list its TCP sockets (netlink, sock_diag): {error}"))
    })?;
    let Scan { processes, mut notes, unseen } = processes?;

    let mut holders: Vec<Holder> = Vec::with_capacity(processes.iter().map(|p| p.sockets.len()).sum());
    for (process, holding) in processes.iter().enumerate() {
        holders.extend(holding.sockets.iter().map(|&Descriptor { fd, inode }| Holder { inode, process, fd }));
    }
    holders.sort_unstable();

    let mut rows = Vec::with_capacity(own.len());
    let mut add = |socks: Vec<Sock>, namespace| {
        rows.extend(socks.into_iter().map(|sock| Row {
            holders: held(&holders, sock.inode),
            sock,
            namespace,
            values: Values::NotAsked,
        }));
    };
    add(own, own_namespace);
    let mut listed: Vec<u64> = own_namespace.into_iter().collect();
    for (namespace, pid) in others(&processes, own_namespace) {
        // Where we may not enter, the copies of the sockets have to tell.
        let socks =
            scan::open_network_namespace(pid).and_then(|open| netns::within(open.as_fd(), sock_diag::dump));
        if let Ok(socks) = socks {
            add(socks, Some(namespace));
            listed.push(namespace);
        }
    }
    let lost = unlisted(&processes, &listed, &holders, &mut rows);
    if lost > 0 {
        notes.push(format!(
            "{lost} sockets of other network namespaces, or of other kinds, cannot be told apart without the right to \
             enter those or to copy these; run ka as root"
        ));
    }
    let hidden = rows.len();
    rows.retain(|row| {
        !row.holders.is_empty() || config.all || row.sock.uid.is_some_and(|uid| unseen.contains(&uid))
    });
    let hidden = hidden - rows.len();
    if hidden > 0 && config.selectors.is_empty() {
        notes.push(format!(
            "{hidden} more sockets have no process that you may look into, or none at all; --all shows them"
        ));
    }
    let mut report = Report { rows, processes, holders, notes, own_namespace };
    sort(&mut report);
    if config.values {
        values::read(&mut report);
    }
    see_library(&mut report);
    Ok(report)
}

/// What was found in /proc.
struct Scan {
    processes: Vec<ProcessSockets>,
    notes: Vec<String>,
    /// The users of processes that are to be shown and may not be looked into.
    unseen: Vec<u32>,
}

/// The sockets of the selected processes, or of all that we may look into.
fn look(selectors: &[Selector]) -> Result<Scan, Error> {
    let all = scan::all();
    let mut pids = Vec::new();
    for selector in selectors {
        pids.extend(selector.find(&all)?);
    }
    pids.sort_unstable();
    pids.dedup();
    let mut pids = if selectors.is_empty() { all } else { pids };
    // One by one, since one process can have more descriptors than all others.
    let found =
        in_parts(&mut pids, 1, |pids| pids.iter().map(|&pid| (pid, holding(pid))).collect::<Vec<_>>());
    let mut looked = Scan { processes: Vec::new(), notes: Vec::new(), unseen: Vec::new() };
    for (pid, found) in found.into_iter().flatten() {
        match found {
            Ok(holding) => looked.processes.extend(holding),
            Err(error) if !selectors.is_empty() => looked.refused(pid, error),
            Err(_) => {}
        }
    }
    Ok(looked)
}

/// The process with its sockets, if it has any.
fn holding(pid: i32) -> Result<Option<ProcessSockets>, Errno> {
    let sockets = scan::sockets(pid)?;
    let name = scan::name(pid).filter(|_| !sockets.is_empty());
    let namespace = || scan::network_namespace(&pid.to_string()).ok();
    Ok(name.map(|name| ProcessSockets { pid, name, hooked: None, sockets, namespace: namespace() }))
}

impl Scan {
    /// We may not look into this process.
    fn refused(&mut self, pid: i32, error: Errno) {
        let Some(rule) = Denial::diagnose(error, pid, Access::Read) else { return };
        let user = scan::credentials(&pid.to_string()).map_or(0, |who| who.uids[1]);
        self.notes.push(format!(
            "{pid} ({}): {rule}. Which connections it has cannot be seen; shown are those of user {user} that no other \
             process has",
            escaped(&scan::name(pid).unwrap_or_default())
        ));
        self.unseen.push(user);
    }
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

/// Each other network namespace, with a process that is in it.
fn others(processes: &[ProcessSockets], own: Option<u64>) -> BTreeMap<u64, i32> {
    let namespaces = processes.iter().filter_map(|p| Some((p.namespace?, p.pid)));
    namespaces.filter(|&(namespace, _)| Some(namespace) != own).collect()
}

/// Adds TCP sockets that are in none of the lists: of a namespace that we may not enter, or one in which no process is
/// any more. Returns how many sockets of unlisted namespaces may be TCP, or not.
fn unlisted(
    processes: &[ProcessSockets],
    namespaces: &[u64],
    holders: &[Holder],
    rows: &mut Vec<Row>,
) -> usize {
    let mut done = vec![false; holders.len()];
    for row in rows.iter() {
        done.get_mut(row.holders.clone()).unwrap_or_default().fill(true);
    }
    let mut copies = Processes::default();
    let mut lost = 0;
    for (at, holder) in holders.iter().enumerate() {
        let Some(holding) = processes.get(holder.process).filter(|_| done.get(at) == Some(&false)) else {
            continue;
        };
        match copies.socket(holding.pid, holder.descriptor()) {
            Ok(socket) => {
                let holders = held(holders, holder.inode);
                done.get_mut(holders.clone()).unwrap_or_default().fill(true);
                let sock = pidfd::describe(&socket, holder.inode);
                rows.extend(sock.map(|sock| Row {
                    sock,
                    namespace: None,
                    holders,
                    values: Values::NotAsked,
                }));
            }
            Err(Errno::BADF | Errno::SRCH) => {}
            Err(_) if holding.namespace.is_none_or(|namespace| !namespaces.contains(&namespace)) => lost += 1,
            Err(_) => {}
        }
    }
    lost
}

/// By process and descriptor; at the end, what no process has, by address.
fn sort(report: &mut Report) {
    let holders = std::mem::take(&mut report.holders);
    let place = |row: &Row| {
        let first = holders.get(row.holders.clone()).and_then(<[Holder]>::first);
        first.map_or((usize::MAX, 0), |first| (first.process, first.fd))
    };
    report.rows.sort_by_cached_key(place);
    let held = report.rows.partition_point(|row| !row.holders.is_empty());
    if let Some(nobodys) = report.rows.get_mut(held..) {
        nobodys.sort_by_key(|row| (row.sock.local, row.sock.peer));
    }
    report.holders = holders;
}

/// Looks for the library in the processes that are shown.
fn see_library(report: &mut Report) {
    let mut shown = vec![false; report.processes.len()];
    for row in &report.rows {
        for holder in report.holders(row) {
            if let Some(shown) = shown.get_mut(holder.process) {
                *shown = true;
            }
        }
    }
    for (process, _) in report.processes.iter_mut().zip(shown).filter(|(_, shown)| *shown) {
        process.hooked = scan::is_hooked(process.pid);
    }
}

/// Whether some process might hold this socket without our seeing it.
pub fn may_be_hidden(sock: &Sock) -> bool {
    sock.inode != 0 && !getuid().is_root()
}
