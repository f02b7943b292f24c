//! What to do with a socket.
//!
//! A socket is set up once, by the first hook that sees it; after that the program's own settings win, field by
//! field, unless `KA_FORCE` turns that round. What was done is remembered by the socket itself: a value of ours in it
//! says that it was set up. So there is no table of descriptors to go stale over close, dup, fork, exec or SCM_RIGHTS.

use crate::keepalive::{Defaults, Desired, Field, PerField, Values};
use crate::rules::{Action, Service};
use crate::settings::Settings;

/// A socket option that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// SO_KEEPALIVE, 0 or 1.
    KeepAlive,
    /// TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT or TCP_USER_TIMEOUT.
    Value(Field),
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
    /// Reads the namespace's defaults; from then on they are known, unless the system was short of something.
    fn read_defaults(&mut self) -> Defaults;
}

/// What was written to a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// SO_KEEPALIVE.
    pub keepalive: Option<bool>,
    /// The numbers.
    pub fields: PerField<Option<u32>>,
    /// What the system said to the first option that it refused.
    pub refused: Option<Errno>,
}

/// What became of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something was written to it.
    Written(Written),
    /// Nothing was.
    Skipped(SkipReason),
}

/// Why a socket was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
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

impl SkipReason {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            SkipReason::NotTcp => "not TCP",
            SkipReason::AlreadySet => "already set",
            SkipReason::ProgramsOwn => "the program's own settings",
            SkipReason::NoMarker => "no setting differs from the kernel's",
            SkipReason::Refused(_) => "refused by the system",
        }
    }
}

/// Whether `socket` makes a TCP or MPTCP socket from these arguments, IPv4 or IPv6.
pub fn is_tcp(domain: i32, kind: i32, protocol: i32) -> bool {
    // The kernel takes the same flags off (SOCK_TYPE_MASK in include/linux/net.h). What is left is a number, not a set
    // of bits.
    let kind = kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    matches!(domain, libc::AF_INET | libc::AF_INET6)
        && kind == libc::SOCK_STREAM
        && matches!(protocol, 0 | libc::IPPROTO_TCP | libc::IPPROTO_MPTCP)
}

/// Whether `connect` has connected a socket or at least begun to, by its result and errno. One that was interrupted
/// goes on in the background like one that does not block (connect(2), EINTR).
pub fn connect_started(result: i32, errno: Errno) -> bool {
    result == 0 || (result == -1 && matches!(errno, libc::EINPROGRESS | libc::EINTR))
}

/// Whether the system was only short of something when it made no socket, so that asking later may help.
pub fn is_shortage(errno: Errno) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
}

/// A new TCP socket, made by `socket`: set everything.
pub fn set_up(settings: &Settings, socket: &mut impl Socket) -> Outcome {
    let mut write = Write::new(socket);
    if let Err(errno) = write.keepalive(true) {
        return Outcome::Skipped(SkipReason::Refused(errno));
    }
    let kernel = if settings.needs_kernel_defaults {
        as_untouched(write.socket, &settings.plain)
    } else {
        Defaults::LINUX
    };
    let target = settings.desired(&kernel);
    for &field in &Field::ALL {
        if let Some(value) = target.of(field) {
            write.field(field, value.get());
        }
    }
    write.outcome()
}

/// The namespace's defaults as a socket shows them that nobody has touched, as far as the values leave them to it.
#[cold]
fn as_untouched(socket: &mut impl Socket, values: &Values) -> Defaults {
    let mut defaults = Defaults::LINUX;
    let target = values.resolve(&defaults);
    for &field in Field::KEEPALIVE.iter().filter(|&&field| target.of(field).is_none()) {
        if let Ok(value) = socket.get(Opt::Value(field)) {
            defaults.put(field, value);
        }
    }
    defaults
}

/// A socket that was just connected or accepted. `service` tells who is at its ends; it is asked only if there are
/// rules and the socket is TCP.
pub fn check<S: Socket>(
    settings: &Settings,
    socket: &mut S,
    service: &mut dyn FnMut(&mut S) -> Option<Service>,
) -> Outcome {
    let ours = Ours::of(settings, socket);
    let target = ours.plain(socket);
    let marker = target.marker(&known(socket));
    if marker.is_none() && settings.rules.is_empty() {
        return Outcome::Skipped(SkipReason::NoMarker);
    }
    // The first look tells whether it is TCP, and is all that most sockets need.
    let first = marker.unwrap_or(Field::Idle);
    let Ok(value) = socket.get(Opt::Value(first)) else { return Outcome::Skipped(SkipReason::NotTcp) };
    if marker.is_some() && settings.rules.is_empty() && target.is(first, value) {
        return Outcome::Skipped(SkipReason::AlreadySet);
    }
    let service = if settings.rules.is_empty() { None } else { service(socket) };
    match service.and_then(|s| settings.rules.find(&s)).map(|rule| &rule.action) {
        None => ours.fill_in(socket, (first, value)),
        Some(Action::Off) => ours.switch_off(socket, (first, value)),
        Some(Action::Values(values)) => ours.replace(socket, values, (first, value)),
    }
}

/// With `KA_FORCE`, before the program sets an option itself: what to put back once its call has succeeded.
pub fn hold(settings: &Settings, socket: &mut impl Socket, opt: Opt) -> Option<u32> {
    let ours = Ours::of(settings, socket);
    let marker = ours.plain(socket).marker(&known(socket));
    let may_be_off = settings.rules.as_slice().iter().any(|rule| rule.action == Action::Off);
    // Whether the socket as a whole is one that we have switched on, and no rule has switched off.
    let is_on = |socket: &mut _| match Socket::get(socket, Opt::Value(marker.unwrap_or(Field::Idle))) {
        Ok(value) => marker.map_or(!may_be_off, |field| ours.is_ours(socket, field, value)),
        Err(_) => false,
    };
    match opt {
        Opt::KeepAlive => is_on(socket).then_some(1),
        Opt::Value(field) if ours.sets(field) => {
            let value = socket.get(opt).ok()?;
            // A value that is ours and the kernel's too also stands in a socket that a rule has switched off.
            let in_doubt = may_be_off && value == known(socket).of(field);
            (ours.is_ours(socket, field, value) && (!in_doubt || is_on(socket))).then_some(value)
        }
        Opt::Value(_) => None,
    }
}

/// The namespace's defaults as far as we know them.
#[inline(never)]
fn known(socket: &impl Socket) -> Defaults {
    socket.known_defaults().unwrap_or(Defaults::LINUX)
}

/// Whether nobody has set this value. The namespace is asked, once, only about a value that Linux does not come with.
fn is_default(socket: &mut impl Socket, field: Field, value: u32) -> bool {
    let namespaces = field != Field::UserTimeout;
    value == known(socket).of(field)
        || (namespaces && socket.known_defaults().is_none() && value == socket.read_defaults().of(field))
}

/// What we set, and so what we recognise.
struct Ours<'a> {
    settings: &'a Settings,
}

impl<'a> Ours<'a> {
    /// Where a value of ours follows from the namespace's, we recognise it only if we know those.
    fn of(settings: &'a Settings, socket: &mut impl Socket) -> Self {
        if settings.needs_kernel_defaults && socket.known_defaults().is_none() {
            socket.read_defaults();
        }
        Ours { settings }
    }

    fn plain(&self, socket: &impl Socket) -> Desired {
        self.settings.desired(&known(socket))
    }

    /// Whether the plain settings or a rule's pass the test.
    fn any(&self, defaults: &Defaults, test: &dyn Fn(&Desired) -> bool) -> bool {
        test(&self.settings.plain.resolve(defaults))
            || self.settings.rules.as_slice().iter().any(|rule| match &rule.action {
                Action::Values(values) => test(&values.resolve(defaults)),
                Action::Off => false,
            })
    }

    /// Whether we ever set this field.
    fn sets(&self, field: Field) -> bool {
        self.any(&Defaults::LINUX, &|target| target.of(field).is_some())
    }

    fn is_ours(&self, socket: &impl Socket, field: Field, value: u32) -> bool {
        self.any(&known(socket), &|target| target.is(field, value))
    }

    /// No rule is for this socket. `seen` is what was already read of it.
    fn fill_in(&self, socket: &mut impl Socket, seen: (Field, u32)) -> Outcome {
        // Twice if the namespace's own defaults turn out to be others than those that Linux comes with.
        loop {
            let defaults = known(socket);
            let target = self.plain(socket);
            let Some(marker) = target.marker(&defaults) else {
                return Outcome::Skipped(SkipReason::NoMarker);
            };
            let Ok(value) = look(socket, marker, seen) else { return Outcome::Skipped(SkipReason::NotTcp) };
            // Untouched, it came another way than through the `socket` hook, and nothing in it is ours.
            let touched = value != defaults.of(marker);
            if touched {
                if self.is_ours(socket, marker, value) {
                    return Outcome::Skipped(SkipReason::AlreadySet);
                }
                if socket.known_defaults().is_none() {
                    socket.read_defaults();
                    if socket.known_defaults().is_some() {
                        continue;
                    }
                }
                if !self.settings.force {
                    return Outcome::Skipped(SkipReason::ProgramsOwn);
                }
            }
            return self.adjust(socket, Some(true), &target, (marker, value), touched);
        }
    }

    /// A rule with values is for this socket: they replace what is still ours or the default.
    fn replace(&self, socket: &mut impl Socket, values: &Values, seen: (Field, u32)) -> Outcome {
        // A socket with a value of ours in its marker was switched on by us: if it is off now, the program did that.
        // One with a value of its own is the program's as well.
        let (first, value) = seen;
        let marked = self.plain(socket).marker(&known(socket)) == Some(first);
        let untouched = value == known(socket).of(first)
            || (!self.is_ours(socket, first, value) && is_default(socket, first, value));
        let on = self.settings.force || !marked || untouched;
        let target = values.resolve(&known(socket));
        self.adjust(socket, on.then_some(true), &target, seen, true)
    }

    /// A rule says `off` for this socket. Never forced: a program that set its own idle time keeps it.
    fn switch_off(&self, socket: &mut impl Socket, seen: (Field, u32)) -> Outcome {
        match look(socket, Field::Idle, seen) {
            Err(_) => Outcome::Skipped(SkipReason::NotTcp),
            Ok(idle) if self.is_ours(socket, Field::Idle, idle) || is_default(socket, Field::Idle, idle) => {
                self.adjust(socket, Some(false), &Desired::NOTHING, seen, true)
            }
            Ok(_) => Outcome::Skipped(SkipReason::ProgramsOwn),
        }
    }

    /// Brings a socket to the target, as far as its values are the default or, if there may be such in it, ours. What
    /// the target leaves to the kernel goes back to the default if it is ours.
    fn adjust(
        &self,
        socket: &mut impl Socket,
        on: Option<bool>,
        target: &Desired,
        seen: (Field, u32),
        may_be_ours: bool,
    ) -> Outcome {
        let force = self.settings.force;
        let mut write = Write::new(socket);
        if let Some(on) = on {
            if let Err(errno) = write.keepalive(on) {
                return Outcome::Skipped(SkipReason::Refused(errno));
            }
        }
        for &field in &Field::ALL {
            let wanted = target.of(field);
            if wanted.is_none() && !(may_be_ours && self.sets(field)) {
                continue;
            }
            let Ok(value) = look(write.socket, field, seen) else { continue };
            let ours = may_be_ours && self.is_ours(write.socket, field, value);
            let wanted = match wanted {
                Some(wanted) if force || ours || is_default(write.socket, field, value) => wanted.get(),
                None if ours => write.socket.read_defaults().of(field),
                _ => continue,
            };
            if value != wanted {
                write.field(field, wanted);
            }
        }
        write.outcome()
    }
}

/// What the socket shows, from what was already read of it where that is enough.
fn look(socket: &mut impl Socket, field: Field, seen: (Field, u32)) -> Result<u32, Errno> {
    if seen.0 == field { Ok(seen.1) } else { socket.get(Opt::Value(field)) }
}

/// Writes to a socket and keeps account of it.
struct Write<'a, S> {
    socket: &'a mut S,
    written: Written,
    /// Whether there is anything in `written`.
    any: bool,
}

impl<'a, S: Socket> Write<'a, S> {
    fn new(socket: &'a mut S) -> Self {
        Write { socket, written: Written::default(), any: false }
    }

    /// The first option that is tried: if it is refused, the rest is not tried.
    fn keepalive(&mut self, on: bool) -> Result<(), Errno> {
        self.socket.set(Opt::KeepAlive, on.into())?;
        self.written.keepalive = Some(on);
        self.any = true;
        Ok(())
    }

    #[inline(always)]
    fn field(&mut self, field: Field, value: u32) {
        match self.socket.set(Opt::Value(field), value) {
            Ok(()) => {
                self.written.fields.put(field, Some(value));
                self.any = true;
            }
            // MPTCP refuses the user timeout, which is nothing to tell.
            Err(_) if field == Field::UserTimeout => {}
            Err(errno) => _ = self.written.refused.get_or_insert(errno),
        }
    }

    fn outcome(self) -> Outcome {
        match self.written.refused {
            _ if self.any => Outcome::Written(self.written),
            Some(errno) => Outcome::Skipped(SkipReason::Refused(errno)),
            None => Outcome::Skipped(SkipReason::AlreadySet),
        }
    }
}
