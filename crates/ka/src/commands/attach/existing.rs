//! `ka attach --now`: the connections that exist already, by the same decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{stderr, stdout};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use kashim_policy::decide;
use kashim_policy::keepalive::{Defaults, Field};
use kashim_policy::outcome::{Outcome, SkipReason};
use kashim_policy::rules::{Action, Service};
use kashim_policy::settings::Settings;
use kashim_policy::socket::{Errno, Opt, Opts, Socket};
use rustix::net::{getpeername, getsockname};

use super::say;
use crate::cgroup::attachment::Loaded;
use crate::cgroup::layout::numbers as numbers_of;
use crate::cgroup::tree::Cgroup;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::output::escape::escaped;
use crate::process::denial::{Access, Denial};
use crate::process::pidfd::Process;
use crate::process::{netns, scan};
use crate::tcp::state::State;
use crate::tcp::{defaults, sock_diag};

/// What a network namespace tells.
#[derive(Clone, Debug)]
struct Namespace {
    defaults: Defaults,
    /// The ports on which something listens.
    services: BTreeSet<u16>,
    /// Of those that are being made, by their inodes, both ends: the program was not there when their SYN went out.
    connecting: BTreeMap<u32, (SocketAddr, SocketAddr)>,
}

/// What became of the connections.
#[derive(Debug, Default)]
struct Summary {
    set: u32,
    /// By the reason.
    left_alone: BTreeMap<&'static str, u32>,
    refused: bool,
    /// Sockets that were met: several processes can hold the same one.
    seen: BTreeSet<u32>,
}

/// Sets the connections of all processes in the cgroup.
pub fn run(cgroup: &Cgroup, settings: &Settings, loaded: &Loaded, dry_run: bool) -> Result<Exit, Error> {
    let wanted = Wanted { settings, loaded, dry_run };
    let mut namespaces = BTreeMap::new();
    let mut summary = Summary::default();
    for pid in cgroup.processes() {
        let Ok(inode) = scan::network_namespace(&pid.to_string()) else { continue };
        let namespace = match namespaces.get(&inode) {
            Some(namespace) => namespace,
            None => {
                let Some(namespace) = ask(pid) else { continue };
                namespaces.entry(inode).or_insert(namespace)
            }
        };
        if let Err((error, access)) = summary.process(pid, &wanted, namespace) {
            if let Some(denial) = Denial::diagnose(error, pid, access) {
                summary.refused = true;
                let name = scan::name(pid).unwrap_or_default();
                let name = escaped(&name);
                say(
                    &mut stderr(),
                    &format!("ka: error: {pid} ({name}): cannot access its sockets: {denial}"),
                );
            }
        }
    }
    let verb = if dry_run { "would be set" } else { "set" };
    let mut text = format!("  existing connections: {} {verb}", summary.set);
    for (reason, count) in &summary.left_alone {
        text += &format!(", {count} left alone ({reason})");
    }
    say(&mut stdout(), &text);
    Ok(if summary.refused { Exit::No } else { Exit::Yes })
}

/// Reads what matters of the network namespace of a process.
fn ask(pid: i32) -> Option<Namespace> {
    let read = || {
        let all = sock_diag::dump()?;
        let connecting = all.iter().filter(|sock| sock.state == State::SYN_SENT);
        Ok(Namespace {
            defaults: defaults::read_or_linux(),
            services: all.iter().filter(|sock| sock.listens()).map(|sock| sock.local.port()).collect(),
            connecting: connecting.map(|sock| (sock.inode, (sock.local, sock.peer))).collect(),
        })
    };
    let namespace = scan::open_network_namespace(pid).ok()?;
    netns::within(namespace.as_fd(), read).ok()
}

impl Summary {
    fn process(
        &mut self,
        pid: i32,
        wanted: &Wanted,
        namespace: &Namespace,
    ) -> Result<(), (rustix::io::Errno, Access)> {
        let process = Process::open(pid).map_err(|error| (error, Access::Attach))?;
        for descriptor in scan::sockets(pid).map_err(|error| (error, Access::Read))? {
            if !self.seen.insert(descriptor.inode) {
                continue;
            }
            let socket = match process.socket(descriptor) {
                Ok(socket) => socket,
                // Closed meanwhile.
                Err(rustix::io::Errno::BADF) => continue,
                Err(error) => return Err((error, Access::Attach)),
            };
            self.socket(socket, descriptor.inode, wanted, namespace);
        }
        Ok(())
    }

    /// One that is not connecting yet is the BPF program's business.
    fn socket(&mut self, socket: OwnedFd, inode: u32, wanted: &Wanted, namespace: &Namespace) {
        let address = |any| SocketAddr::try_from(any).ok();
        let ends = || {
            let peer = getpeername(&socket).ok().flatten().and_then(address)?;
            Some((getsockname(&socket).ok().and_then(address)?, peer))
        };
        let Some((local, peer)) = ends().or_else(|| namespace.connecting.get(&inode).copied()) else {
            return;
        };
        // Where something listens on the port at our end, the connection was accepted there.
        let accepted = namespace.services.contains(&local.port());
        let port = if accepted { local.port() } else { peer.port() };
        let service = Service { peer: peer.ip(), port };
        let mut socket = Copied { socket, defaults: namespace.defaults, dry_run: wanted.dry_run };
        let outcome = decide::check(wanted.settings, &mut socket, &mut |_| Ok(service));
        if matches!(outcome, Outcome::Written(_) | Outcome::Skipped(SkipReason::AlreadySet)) {
            wanted.mark(&socket, &service);
        }
        match outcome {
            Outcome::Written(_) => self.set += 1,
            Outcome::Skipped(SkipReason::NotTcp) => {}
            Outcome::Skipped(reason) => {
                self.refused |= matches!(reason, SkipReason::Refused(_));
                *self.left_alone.entry(reason.text()).or_default() += 1;
            }
        }
    }
}

/// What the connections are to be brought to.
struct Wanted<'a> {
    settings: &'a Settings,
    loaded: &'a Loaded,
    dry_run: bool,
}

impl Wanted<'_> {
    /// Tells the BPF program what it has to hold.
    fn mark(&self, socket: &Copied, service: &Service) {
        if !self.settings.force || self.dry_run {
            return;
        }
        let values = match self.settings.rules.find(service).map(|rule| &rule.action) {
            Some(Action::Off) => return,
            Some(Action::Values(values)) => values.resolve(&socket.defaults),
            None => self.settings.global.resolve(&socket.defaults),
        };
        // What cannot be held has its values all the same.
        let _ = self.loaded.mark(&socket.socket, &numbers_of(&values));
    }
}

/// A socket of another process.
struct Copied {
    socket: OwnedFd,
    defaults: Defaults,
    dry_run: bool,
}

/// Level and name of an option.
fn numbers(opt: Opt) -> (i32, i32) {
    match opt {
        Opt::KeepAlive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        Opt::Value(Field::Idle) => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        Opt::Value(Field::Interval) => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        Opt::Value(Field::Count) => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        Opt::Value(Field::UserTimeout) => (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    }
}

fn last_error() -> Errno {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

impl Socket for Copied {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        let (level, name) = numbers(opt);
        let mut value = 0u32;
        let mut length = size_of::<u32>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to where there are as many.
        let result = unsafe {
            let to = (&raw mut value).cast();
            libc::getsockopt(self.socket.as_raw_fd(), level, name, to, &raw mut length)
        };
        if result == 0 { Ok(value) } else { Err(last_error()) }
    }

    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno> {
        if self.dry_run {
            return Ok(());
        }
        let (level, name) = numbers(opt);
        // SAFETY: the kernel reads as many bytes as it is told, which are there.
        let result = unsafe {
            let length = size_of::<u32>() as libc::socklen_t;
            libc::setsockopt(self.socket.as_raw_fd(), level, name, (&raw const value).cast(), length)
        };
        if result == 0 { Ok(()) } else { Err(last_error()) }
    }

    fn defaults(&mut self) -> Defaults {
        self.defaults
    }

    /// Nobody has seen what the program did.
    fn is_accepted(&self) -> bool {
        false
    }

    fn chosen(&mut self) -> Opts {
        Opts::default()
    }
}
