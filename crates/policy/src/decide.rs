//! What to do with a socket.
//!
//! Without rules `socket` sets everything, and `connect` and `accept` see to sockets that came another way. With rules
//! `connect` and `accept` do all of it, since the peer decides. What the program sets by itself wins, field by field,
//! unless `KA_FORCE` turns that round.
//!
//! A socket that we have set is known by its values. So there is no table of descriptors to go stale over close, dup,
//! fork, exec or SCM_RIGHTS.

use crate::keepalive::{Defaults, Desired, Field, PerField};
use crate::outcome::{Outcome, SkipReason, Write};
use crate::rules::{Action, Service};
use crate::settings::Settings;
use crate::socket::{Errno, Opt, Opts, Socket};

/// A new TCP socket, made by `socket`. Without rules everything is set now. With rules the peer has to be known first,
/// and nothing is set that would have to be taken back.
pub fn set_up(settings: &Settings, socket: &mut impl Socket) -> Outcome {
    if !settings.rules.is_empty() {
        return Outcome::Skipped(SkipReason::PeerUnknown);
    }
    let kernel = if settings.needs_kernel_defaults { socket.defaults() } else { Defaults::LINUX };
    let target = settings.desired(&kernel);
    let mut write = Write::new(socket);
    if let Err(errno) = write.keepalive(true) {
        return Outcome::Skipped(SkipReason::Refused(errno));
    }
    for &field in &Field::ALL {
        if let Some(value) = target.of(field) {
            write.field(field, value.get());
        }
    }
    write.outcome()
}

/// A socket that was just connected or accepted. `service` tells who is at its ends; it is asked only if there are
/// rules and the socket is TCP.
pub fn check<S: Socket>(
    settings: &Settings,
    socket: &mut S,
    service: &mut dyn FnMut(&mut S) -> Result<Service, Errno>,
) -> Outcome {
    // The first look tells whether it is TCP, and is all that most sockets need.
    let Ok(idle) = socket.get(Opt::Value(Field::Idle)) else { return Outcome::Skipped(SkipReason::NotTcp) };
    let defaults = socket.defaults();
    let global = settings.desired(&defaults);
    if settings.rules.is_empty() {
        let Some(marker) = global.marker(&defaults) else { return Outcome::Skipped(SkipReason::NoMarker) };
        let value = if marker == Field::Idle { Ok(idle) } else { socket.get(Opt::Value(marker)) };
        if value.is_ok_and(|value| global.is(marker, value)) {
            return Outcome::Skipped(SkipReason::AlreadySet);
        }
        return without_rules(settings, socket, &global, &defaults, idle);
    }
    let service = match service(socket) {
        // It is not connected after all.
        Err(libc::ENOTCONN) => return Outcome::Skipped(SkipReason::PeerUnknown),
        // Where the kernel does not answer, no rule is for it.
        service => service.ok(),
    };
    with_rules(settings, socket, service, &global, &defaults, idle)
}

/// `socket` sets everything where there are no rules. Either this socket did not come from there, or the program has
/// set it since.
#[cold]
#[inline(never)]
fn without_rules(
    settings: &Settings,
    socket: &mut impl Socket,
    global: &Desired,
    defaults: &Defaults,
    idle: u32,
) -> Outcome {
    let shown = Shown::read(socket, idle, |field| global.of(field).is_some());
    if !settings.force {
        let has_own = global.marker(defaults).is_some_and(|marker| !shown.is_default(defaults, marker));
        // A value that only we set: `socket` was here, and the program has changed its mind since.
        let was_here = shown.differs(global, Opts::default(), defaults);
        if has_own || was_here {
            return Outcome::Skipped(SkipReason::ProgramsOwn);
        }
    }
    let chosen = if settings.force { Opts::default() } else { socket.chosen() };
    Adjust { force: settings.force, shown, chosen, ours: Ours::NOTHING, defaults }.to(socket, true, global)
}

/// Where there are rules, what is in a socket is the program's, unless an earlier `connect` has put it there.
#[cold]
#[inline(never)]
fn with_rules(
    settings: &Settings,
    socket: &mut impl Socket,
    service: Option<Service>,
    global: &Desired,
    defaults: &Defaults,
    idle: u32,
) -> Outcome {
    let force = settings.force;
    let shown = Shown::read(socket, idle, |_| true);
    let chosen = if force { Opts::default() } else { socket.chosen() };
    // An accepted socket has met with nobody's `connect`, and its listener neither.
    let ours =
        if socket.is_accepted() { Ours::NOTHING } else { Ours::find(settings, &shown, chosen, defaults) };
    let adjust = Adjust { force, shown, chosen, ours, defaults };
    match service.and_then(|service| settings.rules.find(&service)).map(|rule| &rule.action) {
        None => adjust.to(socket, true, global),
        Some(Action::Values(values)) => adjust.to(socket, true, &values.resolve(defaults)),
        // Never forced. What an earlier connect to somebody else has set is taken back; with force it cannot be told from
        // what the program has set.
        Some(Action::Off) if ours != Ours::NOTHING && !force => adjust.to(socket, false, &Desired::NOTHING),
        Some(Action::Off) => Outcome::Skipped(SkipReason::Off),
    }
}

/// With `KA_FORCE`, before the program sets an option itself: what to put back once its call has succeeded.
pub fn hold(settings: &Settings, socket: &mut impl Socket, opt: Opt) -> Option<u32> {
    let defaults = socket.defaults();
    let rules = !settings.rules.is_empty();
    match opt {
        Opt::KeepAlive if rules => is_set(settings, socket, &defaults).then_some(1),
        Opt::KeepAlive => {
            let global = settings.desired(&defaults);
            let marker = global.marker(&defaults);
            let value = socket.get(Opt::Value(marker.unwrap_or(Field::Idle))).ok()?;
            marker.is_none_or(|field| global.is(field, value)).then_some(1)
        }
        Opt::Value(field) => {
            if !settings.any_target(&defaults, &mut |target| target.of(field).is_some()) {
                return None;
            }
            let value = socket.get(opt).ok()?;
            // With rules, a value that is the kernel's as well also stands in a socket that we left alone.
            let in_doubt = rules && value == defaults.of(field);
            let held = settings.any_target(&defaults, &mut |target| target.is(field, value))
                && (!in_doubt || is_set(settings, socket, &defaults));
            held.then_some(value)
        }
    }
}

/// Whether `connect` or `accept` has set this socket. Where no rule says `off` it has set every socket that shows what
/// it should, also one that shows the kernel's own values then.
#[cold]
fn is_set(settings: &Settings, socket: &mut impl Socket, defaults: &Defaults) -> bool {
    let Ok(idle) = socket.get(Opt::Value(Field::Idle)) else { return false };
    let shown = Shown::read(socket, idle, |_| true);
    let chosen = Opts::default();
    let may_be_off = settings.rules.as_slice().iter().any(|rule| rule.action == Action::Off);
    settings.any_target(defaults, &mut |target| {
        shown.agrees(target, chosen) && (!may_be_off || shown.differs(target, chosen, defaults))
    })
}

/// What a socket shows, as far as it was read and not refused. (MPTCP has no user timeout.)
#[derive(Clone, Copy)]
struct Shown(PerField<Option<u32>>);

impl Shown {
    #[inline(never)]
    fn read(socket: &mut impl Socket, idle: u32, wants: impl Fn(Field) -> bool) -> Shown {
        let mut shown = PerField([Some(idle), None, None, None]);
        for &field in Field::ALL.iter().filter(|&&field| field != Field::Idle && wants(field)) {
            shown.put(field, socket.get(Opt::Value(field)).ok());
        }
        Shown(shown)
    }

    fn is(&self, target: &Desired, field: Field) -> bool {
        self.0.of(field).is_some_and(|value| target.is(field, value))
    }

    fn is_default(&self, defaults: &Defaults, field: Field) -> bool {
        self.0.of(field) == Some(defaults.of(field))
    }

    /// Whether this target may have been set: nothing contradicts it, but for what the program has changed since.
    #[inline(never)]
    fn agrees(&self, target: &Desired, chosen: Opts) -> bool {
        Field::ALL.iter().all(|&field| {
            target.of(field).is_none()
                || self.0.of(field).is_none()
                || chosen.has(Opt::Value(field))
                || self.is(target, field)
        })
    }

    /// Whether something in it tells this target from a socket that nobody has set.
    #[inline(never)]
    fn differs(&self, target: &Desired, chosen: Opts, defaults: &Defaults) -> bool {
        Field::ALL.iter().any(|&field| {
            !chosen.has(Opt::Value(field)) && self.is(target, field) && !self.is_default(defaults, field)
        })
    }
}

/// The fields of a socket that an earlier `connect` has set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ours(PerField<bool>);

impl Ours {
    const NOTHING: Ours = Ours(PerField([false; 4]));

    /// All fields of a target together tell it: the program may have one of its values by itself.
    fn find(settings: &Settings, shown: &Shown, chosen: Opts, defaults: &Defaults) -> Ours {
        let mut ours = Ours::NOTHING;
        // A new socket, as nearly all are.
        if Field::ALL.iter().all(|&field| shown.0.of(field).is_none_or(|value| value == defaults.of(field))) {
            return ours;
        }
        settings.any_target(defaults, &mut |target| {
            if shown.agrees(target, chosen) && shown.differs(target, chosen, defaults) {
                for &field in &Field::ALL {
                    ours.0.put(field, ours.0.of(field) || shown.is(target, field));
                }
            }
            // The next one, too.
            false
        });
        ours
    }
}

/// What is known of a socket that is to be brought to a target.
struct Adjust<'a> {
    force: bool,
    shown: Shown,
    /// What the program has set, and with force nothing.
    chosen: Opts,
    ours: Ours,
    defaults: &'a Defaults,
}

impl Adjust<'_> {
    /// Sets what nobody has set, and what we have. What the target leaves to the kernel goes back to the default if
    /// it is ours.
    fn to(&self, socket: &mut impl Socket, on: bool, target: &Desired) -> Outcome {
        // Forced, these values may also be the program's, which has not switched it on.
        let is_on = self.ours != Ours::NOTHING && (!self.force || socket.get(Opt::KeepAlive) == Ok(1));
        let mut write = Write::new(socket);
        if is_on != on && !self.chosen.has(Opt::KeepAlive) {
            if let Err(errno) = write.keepalive(on) {
                return Outcome::Skipped(SkipReason::Refused(errno));
            }
        }
        for &field in &Field::ALL {
            let Some(shown) = self.shown.0.of(field) else { continue };
            let chosen = self.chosen.has(Opt::Value(field));
            let ours = self.ours.0.of(field) && !chosen;
            let free = ours || (shown == self.defaults.of(field) && !chosen);
            let wanted = match target.of(field) {
                Some(wanted) if self.force || free => wanted.get(),
                None if ours => self.defaults.of(field),
                _ => continue,
            };
            if shown != wanted {
                write.field(field, wanted);
            }
        }
        write.outcome()
    }
}
