//! What to do with a socket.
//!
//! A socket is set up once, by the first hook that sees it; after that the program's own settings win, field by
//! field, unless `KA_FORCE` turns that round. What was done is remembered by the socket itself: a value of ours in it
//! says that it was set up. So there is no table of descriptors to go stale over close, dup, fork, exec or SCM_RIGHTS.

use crate::rules::{Action, Service};
use crate::settings::Settings;
use crate::values::{Defaults, Field, PerField, Target, Values};

/// A socket option that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// SO_KEEPALIVE, 0 or 1.
    KeepAlive,
    /// TCP_KEEPIDLE, TCP_KEEPINTVL or TCP_KEEPCNT.
    Value(Field),
    /// TCP_USER_TIMEOUT in milliseconds.
    UserTimeout,
}

/// A number as in errno(3).
pub type Errno = i32;

/// A socket, and the network namespace that it lives in.
pub trait Socket {
    /// getsockopt(2).
    fn get(&mut self, opt: Opt) -> Result<u32, Errno>;
    /// setsockopt(2).
    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno>;
    /// The namespace's defaults if they were read before.
    fn known_defaults(&self) -> Option<Defaults>;
    /// Reads the namespace's defaults; from then on they are known.
    fn read_defaults(&mut self) -> Defaults;
}

/// What was written to a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// SO_KEEPALIVE.
    pub keepalive: Option<bool>,
    /// Idle and interval in seconds, count.
    pub fields: PerField<Option<u32>>,
    /// TCP_USER_TIMEOUT in milliseconds.
    pub user_timeout: Option<u32>,
    /// What the system said to the first option that it refused.
    pub refused: Option<Errno>,
}

/// What became of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something was written to it.
    Written(Written),
    /// Nothing was.
    LeftAlone(Why),
}

/// Why a socket was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// UDP, UNIX, RAW, SCTP and so on. SO_KEEPALIVE is accepted there without a word, and means nothing.
    NotTcp,
    /// A value of ours is in it.
    AlreadySet,
    /// A value that is neither ours nor the namespace's default is in it.
    ProgramsOwn,
    /// Everything is left to the kernel, or equal to its defaults: no socket can be told from one that we set up.
    NoMarker,
    /// The system refused the first option, with this errno.
    Refused(Errno),
}

impl Why {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Why::NotTcp => "not TCP",
            Why::AlreadySet => "already set",
            Why::ProgramsOwn => "the program's own settings",
            Why::NoMarker => "no setting differs from the kernel's",
            Why::Refused(_) => "refused by the system",
        }
    }
}

/// A new TCP socket, made by `socket`: set everything.
pub fn set_up(settings: &Settings, socket: &mut impl Socket) -> Outcome {
    let mut write = Write::new(socket);
    if let Err(errno) = write.keepalive(true) {
        return Outcome::LeftAlone(Why::Refused(errno));
    }
    // Nobody has touched it yet, so where a value of ours leans on the kernel's it shows that itself.
    let mut kernel = known(write.socket);
    let leans_on = settings.plain.leans_on();
    for field in Field::ALL.into_iter().filter(|&f| leans_on.of(f)) {
        if let Ok(value) = write.socket.get(Opt::Value(field)) {
            *kernel.place(field) = value;
        }
    }
    write.target(&settings.plain.resolve(&kernel));
    write.outcome()
}

/// A socket that was just connected or accepted. `service` tells who is at its ends; it is asked only if there are
/// rules and the socket is TCP.
pub fn check<S: Socket>(
    settings: &Settings,
    socket: &mut S,
    service: impl FnOnce(&mut S) -> Option<Service>,
) -> Outcome {
    let ours = Ours::of(settings, socket);
    if settings.rules.is_empty() {
        return ours.fill_in(socket, None);
    }
    // The first look tells whether it is TCP, and is what most sockets need anyway.
    let first = ours.plain(socket).marker(&known(socket)).unwrap_or(Field::Idle);
    let Ok(value) = socket.get(Opt::Value(first)) else { return Outcome::LeftAlone(Why::NotTcp) };
    match service(socket).and_then(|s| settings.rules.find(&s)).map(|rule| &rule.action) {
        None => ours.fill_in(socket, Some((first, value))),
        Some(Action::Off) => ours.switch_off(socket, (first, value)),
        Some(Action::Values(values)) => ours.replace(socket, values, (first, value)),
    }
}

/// With `KA_FORCE`, before the program sets an option itself: what to put back once its call has succeeded.
pub fn hold(settings: &Settings, socket: &mut impl Socket, opt: Opt) -> Option<u32> {
    let ours = Ours::of(settings, socket);
    match opt {
        Opt::KeepAlive => {
            let marker = ours.plain(socket).marker(&known(socket));
            let value = socket.get(Opt::Value(marker.unwrap_or(Field::Idle))).ok()?;
            let held = match marker {
                Some(field) => ours.is_ours(socket, field, value),
                // Every TCP socket is switched on, so this one was, unless a rule switched it off.
                None => !ours.may_be_off(),
            };
            held.then_some(1)
        }
        Opt::Value(field) => {
            if !ours.sets(|target| target.fields.of(field).is_some()) {
                return None;
            }
            let value = socket.get(opt).ok()?;
            let held = ours.is_ours(socket, field, value) && !ours.is_off(socket, field, value);
            held.then_some(value)
        }
        Opt::UserTimeout => {
            if !ours.sets(|target| target.user_timeout.is_some()) {
                return None;
            }
            socket.get(opt).ok().filter(|&value| ours.is_our_timeout(socket, value))
        }
    }
}

/// The namespace's defaults as far as we know them.
fn known(socket: &impl Socket) -> Defaults {
    socket.known_defaults().unwrap_or(Defaults::LINUX)
}

/// Whether nobody has set this value. The namespace is asked, once, only about a value that Linux does not come with.
fn is_default(socket: &mut impl Socket, field: Field, value: u32) -> bool {
    value == known(socket).of(field)
        || (socket.known_defaults().is_none() && value == socket.read_defaults().of(field))
}

/// What we set, and so what we recognise.
struct Ours<'a> {
    settings: &'a Settings,
}

impl<'a> Ours<'a> {
    /// Where a value of ours follows from the namespace's, we recognise it only if we know those.
    fn of(settings: &'a Settings, socket: &mut impl Socket) -> Self {
        if settings.leans_on_kernel && socket.known_defaults().is_none() {
            socket.read_defaults();
        }
        Ours { settings }
    }

    fn plain(&self, socket: &impl Socket) -> Target {
        self.settings.plain.resolve(&known(socket))
    }

    /// Whether the plain settings or a rule's pass the test.
    fn any(&self, defaults: &Defaults, test: impl Fn(&Target) -> bool) -> bool {
        let rules = self.settings.rules.iter().filter_map(|rule| match &rule.action {
            Action::Values(values) => Some(values),
            Action::Off => None,
        });
        core::iter::once(&self.settings.plain).chain(rules).any(|values| test(&values.resolve(defaults)))
    }

    fn sets(&self, test: impl Fn(&Target) -> bool) -> bool {
        self.any(&Defaults::LINUX, test)
    }

    fn is_ours(&self, socket: &impl Socket, field: Field, value: u32) -> bool {
        self.any(&known(socket), |target| target.fields.of(field) == Some(value))
    }

    fn is_our_timeout(&self, socket: &impl Socket, value: u32) -> bool {
        self.any(&known(socket), |target| target.user_timeout == Some(value))
    }

    fn may_be_off(&self) -> bool {
        self.settings.rules.iter().any(|rule| rule.action == Action::Off)
    }

    /// Whether a value of ours that is also the kernel's stands in a socket that a rule switched off.
    fn is_off(&self, socket: &mut impl Socket, field: Field, value: u32) -> bool {
        let defaults = known(socket);
        if !self.may_be_off() || value != defaults.of(field) {
            return false;
        }
        let Some(marker) = self.plain(socket).marker(&defaults) else { return true };
        socket.get(Opt::Value(marker)).is_ok_and(|v| v == defaults.of(marker))
    }

    /// No rule is for this socket. `seen` is what was already read of it.
    fn fill_in(&self, socket: &mut impl Socket, seen: Option<(Field, u32)>) -> Outcome {
        // Twice if the namespace's own defaults turn out to be others than those that Linux comes with.
        loop {
            let defaults = known(socket);
            let target = self.plain(socket);
            let Some(marker) = target.marker(&defaults) else { return Outcome::LeftAlone(Why::NoMarker) };
            let value = match seen {
                Some((field, value)) if field == marker => value,
                _ => match socket.get(Opt::Value(marker)) {
                    Ok(value) => value,
                    Err(_) => return Outcome::LeftAlone(Why::NotTcp),
                },
            };
            if value == defaults.of(marker) {
                return self.fill_untouched(socket, &target, (marker, value));
            }
            if self.is_ours(socket, marker, value) {
                return Outcome::LeftAlone(Why::AlreadySet);
            }
            if socket.known_defaults().is_none() {
                socket.read_defaults();
                continue;
            }
            if self.settings.force {
                let mut write = Write::new(socket);
                if let Err(errno) = write.keepalive(true) {
                    return Outcome::LeftAlone(Why::Refused(errno));
                }
                write.target(&target);
                return write.outcome();
            }
            return Outcome::LeftAlone(Why::ProgramsOwn);
        }
    }

    /// The socket came another way than through the `socket` hook. Only what nobody has set is set.
    fn fill_untouched(&self, socket: &mut impl Socket, target: &Target, seen: (Field, u32)) -> Outcome {
        let mut write = Write::new(socket);
        if let Err(errno) = write.keepalive(true) {
            return Outcome::LeftAlone(Why::Refused(errno));
        }
        for field in Field::ALL {
            let Some(wanted) = target.fields.of(field) else { continue };
            let Ok(value) = write.look(field, seen) else { continue };
            if value != wanted && (self.settings.force || is_default(write.socket, field, value)) {
                write.field(field, wanted);
            }
        }
        if let Some(wanted) = target.user_timeout {
            if self.settings.force || write.socket.get(Opt::UserTimeout) == Ok(0) {
                write.user_timeout(wanted);
            }
        }
        write.outcome()
    }

    /// A rule with values is for this socket: they replace what is still ours or the default.
    fn replace(&self, socket: &mut impl Socket, values: &Values, seen: (Field, u32)) -> Outcome {
        let force = self.settings.force;
        let (first, value) = seen;
        // A socket with a value of ours in its marker was switched on by us: if it is off now, the program did that.
        // One with a value of its own is the program's as well.
        let marked = self.plain(socket).marker(&known(socket)) == Some(first);
        let untouched = is_default(socket, first, value);
        let mut write = Write::new(socket);
        if force || untouched || !marked {
            if let Err(errno) = write.keepalive(true) {
                return Outcome::LeftAlone(Why::Refused(errno));
            }
        }
        let target = values.resolve(&known(write.socket));
        for field in Field::ALL {
            let Ok(value) = write.look(field, seen) else { continue };
            let ours = self.is_ours(write.socket, field, value);
            if !(force || ours || is_default(write.socket, field, value)) {
                continue;
            }
            let wanted = match target.fields.of(field) {
                Some(wanted) => wanted,
                // Left to the kernel by the rule: what we set before goes back.
                None if ours => write.socket.read_defaults().of(field),
                None => continue,
            };
            if value != wanted {
                write.field(field, wanted);
            }
        }
        if self.sets(|target| target.user_timeout.is_some()) {
            if let Ok(value) = write.socket.get(Opt::UserTimeout) {
                let ours = self.is_our_timeout(write.socket, value);
                match target.user_timeout {
                    Some(wanted) if value != wanted && (force || ours || value == 0) => {
                        write.user_timeout(wanted)
                    }
                    None if ours => write.user_timeout(0),
                    _ => {}
                }
            }
        }
        write.outcome()
    }

    /// A rule says `off` for this socket. Never forced: a program that set its own idle time keeps it.
    fn switch_off(&self, socket: &mut impl Socket, seen: (Field, u32)) -> Outcome {
        let mut write = Write::new(socket);
        let Ok(idle) = write.look(Field::Idle, seen) else { return Outcome::LeftAlone(Why::NotTcp) };
        if !self.is_ours(write.socket, Field::Idle, idle) && !is_default(write.socket, Field::Idle, idle) {
            return Outcome::LeftAlone(Why::ProgramsOwn);
        }
        if let Err(errno) = write.keepalive(false) {
            return Outcome::LeftAlone(Why::Refused(errno));
        }
        let defaults = write.socket.known_defaults().unwrap_or_else(|| write.socket.read_defaults());
        for field in Field::ALL {
            let Ok(value) = write.look(field, seen) else { continue };
            if value != defaults.of(field) && self.is_ours(write.socket, field, value) {
                write.field(field, defaults.of(field));
            }
        }
        if self.sets(|target| target.user_timeout.is_some()) {
            if write.socket.get(Opt::UserTimeout).is_ok_and(|v| self.is_our_timeout(write.socket, v)) {
                write.user_timeout(0);
            }
        }
        write.outcome()
    }
}

/// Writes to a socket and keeps account of it.
struct Write<'a, S> {
    socket: &'a mut S,
    written: Written,
}

impl<'a, S: Socket> Write<'a, S> {
    fn new(socket: &'a mut S) -> Self {
        Write { socket, written: Written::default() }
    }

    /// What the socket shows, from what was already read of it where that is enough.
    fn look(&mut self, field: Field, seen: (Field, u32)) -> Result<u32, Errno> {
        if seen.0 == field { Ok(seen.1) } else { self.socket.get(Opt::Value(field)) }
    }

    /// The first option that is tried: if it is refused, the rest is not tried.
    fn keepalive(&mut self, on: bool) -> Result<(), Errno> {
        self.socket.set(Opt::KeepAlive, on.into())?;
        self.written.keepalive = Some(on);
        Ok(())
    }

    fn field(&mut self, field: Field, value: u32) {
        match self.socket.set(Opt::Value(field), value) {
            Ok(()) => *self.written.fields.place(field) = Some(value),
            Err(errno) => _ = self.written.refused.get_or_insert(errno),
        }
    }

    /// MPTCP refuses it, which is no complaint.
    fn user_timeout(&mut self, milliseconds: u32) {
        if self.socket.set(Opt::UserTimeout, milliseconds).is_ok() {
            self.written.user_timeout = Some(milliseconds);
        }
    }

    fn target(&mut self, target: &Target) {
        for field in Field::ALL {
            if let Some(value) = target.fields.of(field) {
                self.field(field, value);
            }
        }
        if let Some(value) = target.user_timeout {
            self.user_timeout(value);
        }
    }

    fn outcome(self) -> Outcome {
        if self.written == Written::default() {
            Outcome::LeftAlone(Why::AlreadySet)
        } else {
            Outcome::Written(self.written)
        }
    }
}
