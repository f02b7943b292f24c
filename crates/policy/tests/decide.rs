//! What becomes of a socket, with one that is made up: what it shows in the end, and how often it was asked.

use kashim_policy::decide;
use kashim_policy::keepalive::{Defaults, Field, PerField};
use kashim_policy::outcome::{Outcome, SkipReason};
use kashim_policy::rules::Service;
use kashim_policy::settings::Settings;
use kashim_policy::socket::{self, Errno, Opt, Opts, Socket};
use kashim_policy::variables::{Environment, Global};
use proptest::prelude::*;

const EPERM: Errno = 1;
const ENOPROTOOPT: Errno = 92;

/// A socket as the kernel has it: a value that nobody has set follows the network namespace.
#[derive(Clone, Debug, PartialEq)]
struct Fake {
    on: bool,
    values: [Option<u32>; 4],
    kind: Kind,
    namespace: Defaults,
    /// Whether the namespace's values were read before.
    known: bool,
    /// There is no descriptor left by which the namespace could be asked.
    short: bool,
    /// What the program has set where the library saw it.
    chosen: Opts,
    accepted: bool,
    /// The calls that were made, by what is between the host and the kernel.
    calls: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tcp,
    Mptcp,
    Other,
    /// Nothing may be set.
    Sandboxed,
}

const SHORT: [&str; 4] = ["idle", "interval", "count", "timeout"];

impl Fake {
    fn new(kind: Kind) -> Self {
        Fake {
            on: false,
            values: [None; 4],
            kind,
            namespace: Defaults::LINUX,
            known: true,
            short: false,
            chosen: Opts::default(),
            accepted: false,
            calls: Vec::new(),
        }
    }

    fn named(opt: Opt) -> &'static str {
        match opt {
            Opt::KeepAlive => "keepalive",
            Opt::Value(field) => SHORT[field as usize],
        }
    }

    fn value(&self, field: Field) -> u32 {
        self.values[field as usize].unwrap_or(self.namespace.of(field))
    }

    /// `on 60/15/9`, with `+` and the user timeout behind it if there is one.
    fn shows(&self) -> String {
        let on = if self.on { "on" } else { "off" };
        let [idle, interval, count, timeout] =
            [Field::Idle, Field::Interval, Field::Count, Field::UserTimeout].map(|f| self.value(f));
        let timeout = if timeout == 0 { String::new() } else { format!("+{timeout}") };
        format!("{on} {idle}/{interval}/{count}{timeout}")
    }

    /// As the program does it.
    fn program(mut self, sets: &[(&str, u32)]) -> Self {
        for &(name, value) in sets {
            match SHORT.iter().position(|short| *short == name) {
                None => self.on = value != 0,
                Some(i) => self.values[i] = Some(value),
            }
        }
        self
    }

    fn asked(&mut self) -> String {
        std::mem::take(&mut self.calls).join(", ")
    }
}

impl Socket for Fake {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        self.calls.push(format!("get {}", Fake::named(opt)));
        match opt {
            Opt::KeepAlive => Ok(self.on.into()),
            Opt::Value(_) if self.kind == Kind::Other => Err(ENOPROTOOPT),
            Opt::Value(Field::UserTimeout) if self.kind == Kind::Mptcp => Err(ENOPROTOOPT),
            Opt::Value(field) => Ok(self.value(field)),
        }
    }

    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno> {
        self.calls.push(format!("set {}", Fake::named(opt)));
        match opt {
            _ if self.kind == Kind::Sandboxed => return Err(EPERM),
            Opt::KeepAlive => self.on = value != 0,
            Opt::Value(Field::UserTimeout) if self.kind == Kind::Mptcp => return Err(ENOPROTOOPT),
            Opt::Value(_) if self.kind == Kind::Other => return Err(ENOPROTOOPT),
            Opt::Value(field) => self.values[field as usize] = Some(value),
        }
        Ok(())
    }

    fn defaults(&mut self) -> Defaults {
        if !self.known {
            self.calls.push("read defaults".to_owned());
            if self.short {
                return Defaults::LINUX;
            }
            self.known = true;
        }
        self.namespace
    }

    fn is_accepted(&self) -> bool {
        self.accepted
    }

    fn chosen(&mut self) -> Opts {
        self.chosen
    }
}

fn settings(entries: &[&str]) -> Box<Settings> {
    let mut settings = Box::new(Settings::EMPTY);
    let environment = Environment::from_entries(entries.iter().map(|entry| entry.as_bytes()));
    settings.read(&environment, &Global::read(&environment), &mut |complaint| panic!("{complaint:?}"));
    settings
}

fn check(settings: &Settings, socket: &mut Fake, peer: &str) -> Outcome {
    decide::check(settings, socket, &mut |socket: &mut Fake| {
        socket.calls.push("who".to_owned());
        Ok(Service { peer: peer.parse().unwrap(), port: 80 })
    })
}

/// The program sets an option of a socket whose program the library is in.
fn set_by_program(settings: &Settings, socket: &mut Fake, name: &str, value: u32) {
    let opt = match SHORT.iter().position(|short| *short == name) {
        None => Opt::KeepAlive,
        Some(i) => Opt::Value([Field::Idle, Field::Interval, Field::Count, Field::UserTimeout][i]),
    };
    let held = if settings.force { decide::hold(settings, socket, opt) } else { None };
    *socket = socket.clone().program(&[(name, value)]);
    match held {
        Some(held) => socket.set(opt, held).unwrap(),
        None if settings.force => {}
        None => socket.chosen.0 |= Opts::one(opt).0,
    }
}

const HERE: &str = "10.0.0.1";

#[test]
fn set_up() {
    for (entries, kind, shows, asked) in [
        (&[][..], Kind::Tcp, "on 60/15/9", "set keepalive, set idle, set interval, set count"),
        (
            &["KA_USER_TIMEOUT=5"],
            Kind::Tcp,
            "on 60/15/9+5000",
            "set keepalive, set idle, set interval, set count, set timeout",
        ),
        (
            &["KA_USER_TIMEOUT=5"],
            Kind::Mptcp,
            "on 60/15/9",
            "set keepalive, set idle, set interval, set count, set timeout",
        ),
        (
            &["KA_IDLE=system", "KA_INTERVAL=5"],
            Kind::Tcp,
            "on 7200/5/9",
            "set keepalive, set interval, set count",
        ),
        (
            &["KA_IDLE=system", "KA_INTERVAL=system", "KA_COUNT=system"],
            Kind::Tcp,
            "on 7200/75/9",
            "set keepalive",
        ),
        (&[], Kind::Sandboxed, "off 7200/75/9", "set keepalive"),
        (&["KA_FORCE=1"], Kind::Tcp, "on 60/15/9", "set keepalive, set idle, set interval, set count"),
    ] {
        let mut socket = Fake::new(kind);
        let outcome = decide::set_up(&settings(entries), &mut socket);
        assert_eq!((&*socket.shows(), &*socket.asked()), (shows, asked), "{entries:?} {kind:?}");
        let refused = Outcome::Skipped(SkipReason::Refused(EPERM));
        assert_eq!(outcome == refused, kind == Kind::Sandboxed, "{outcome:?}");
        // That MPTCP has no user timeout is nothing to tell.
        let Outcome::Written(written) = outcome else { continue };
        assert_eq!((written.keepalive, written.refused), (Some(true), None), "{entries:?} {kind:?}");
    }
    // Something follows from the kernel's values.
    let mut socket = Fake { namespace: PerField([10, 20, 3, 0]), ..Fake::new(Kind::Tcp) };
    _ = decide::set_up(&settings(&["KA_IDLE=system"]), &mut socket);
    assert_eq!(socket.shows(), "on 10/10/9");
    // With rules, the peer has to be known first.
    for entries in [&["KA_RULES=* off"][..], &["KA_RULES=10.0.0.2 idle=5", "KA_FORCE=1"]] {
        let mut socket = Fake::new(Kind::Tcp);
        let outcome = decide::set_up(&settings(entries), &mut socket);
        assert_eq!(
            (outcome, &*socket.asked()),
            (Outcome::Skipped(SkipReason::PeerUnknown), ""),
            "{entries:?}"
        );
    }
}

const OURS: &[(&str, u32)] = &[("keepalive", 1), ("idle", 60), ("interval", 15), ("count", 9)];
const FILL_IN: &str = "get idle, get interval, get count, set keepalive, set idle, set interval";
const LOOK: &str = "get idle, get interval, get count";

#[test]
fn a_socket_that_is_checked() {
    for (entries, sets, shows, asked) in [
        (&[][..], OURS, "on 60/15/9", "get idle"),
        (&[], &[], "on 60/15/9", FILL_IN),
        (&[], &[("keepalive", 1)], "on 60/15/9", FILL_IN),
        (&[], &[("idle", 20)], "off 20/75/9", LOOK),
        (
            &[],
            &[("interval", 20)],
            "on 60/20/9",
            "get idle, get interval, get count, set keepalive, set idle",
        ),
        (
            &["KA_USER_TIMEOUT=5"],
            &[],
            "on 60/15/9+5000",
            "get idle, get interval, get count, get timeout, set keepalive, set idle, set interval, set timeout",
        ),
        (
            &["KA_USER_TIMEOUT=5"],
            &[("timeout", 7)],
            "on 60/15/9+7",
            "get idle, get interval, get count, get timeout, set keepalive, set idle, set interval",
        ),
        // Only what is asked for.
        (
            &["KA_INTERVAL=system", "KA_COUNT=4"],
            &[],
            "on 60/75/4",
            "get idle, get count, set keepalive, set idle, set count",
        ),
        // The next field is the marker, or there is none.
        (
            &["KA_IDLE=7200"],
            &[],
            "on 7200/15/9",
            "get idle, get interval, get interval, get count, set keepalive, set interval",
        ),
        (&["KA_IDLE=7200"], &[("interval", 15)], "off 7200/15/9", "get idle, get interval"),
        (
            &["KA_IDLE=7200"],
            &[("interval", 20)],
            "off 7200/20/9",
            "get idle, get interval, get interval, get count",
        ),
        (
            &["KA_IDLE=7200", "KA_INTERVAL=75", "KA_COUNT=4"],
            &[("count", 4)],
            "off 7200/75/4",
            "get idle, get count",
        ),
        (&["KA_IDLE=7200", "KA_INTERVAL=75", "KA_COUNT=9"], &[], "off 7200/75/9", "get idle"),
        (&["KA_IDLE=system", "KA_INTERVAL=75", "KA_COUNT=9"], &[], "off 7200/75/9", "get idle"),
        (
            &["KA_FORCE=1"],
            &[("idle", 20), ("count", 3)],
            "on 60/15/9",
            "get idle, get interval, get count, set keepalive, set idle, set interval, set count",
        ),
        (
            &["KA_FORCE=1"],
            &[("interval", 20)],
            "on 60/15/9",
            "get idle, get interval, get count, set keepalive, set idle, set interval",
        ),
        // Switched off by the program, after it was set up.
        (&[], &[("idle", 60), ("interval", 15)], "off 60/15/9", "get idle"),
        // A value that only we set: the program has put the idle time back to the kernel's.
        (&[], &[("idle", 7200), ("interval", 15)], "off 7200/15/9", LOOK),
        (&["KA_COUNT=5"], &[("keepalive", 1), ("interval", 7200), ("count", 5)], "on 7200/7200/5", LOOK),
        (
            &["KA_USER_TIMEOUT=5"],
            &[("timeout", 5000)],
            "off 7200/75/9+5000",
            "get idle, get interval, get count, get timeout",
        ),
        (
            &["KA_FORCE=1"],
            &[("interval", 15)],
            "on 60/15/9",
            "get idle, get interval, get count, set keepalive, set idle",
        ),
    ] {
        let mut socket = Fake::new(Kind::Tcp).program(sets);
        _ = check(&settings(entries), &mut socket, HERE);
        assert_eq!((&*socket.shows(), &*socket.asked()), (shows, asked), "{entries:?} {sets:?}");
    }
}

/// What the program sets by itself stays as it is, also where it is the value that was there already, in a socket of
/// ours and in one that came another way.
#[test]
fn what_the_program_has_chosen() {
    for (entries, sets, ours, foreign) in [
        (
            &[][..],
            &[("keepalive", 1), ("idle", 7200), ("interval", 7200)][..],
            "on 7200/7200/9",
            "on 7200/7200/9",
        ),
        (&[], &[("keepalive", 0), ("idle", 7200)], "off 7200/15/9", "off 7200/15/9"),
        (
            &[],
            &[("keepalive", 1), ("idle", 7200), ("interval", 75), ("count", 9)],
            "on 7200/75/9",
            "on 7200/75/9",
        ),
        (&[], &[("idle", 7200), ("interval", 75)], "on 7200/75/9", "on 7200/75/9"),
        (&[], &[("idle", 7200)], "on 7200/15/9", "on 7200/15/9"),
        (&[], &[("keepalive", 0)], "off 60/15/9", "off 60/15/9"),
        (&[], &[("interval", 75)], "on 60/75/9", "on 60/75/9"),
        (&["KA_USER_TIMEOUT=5"], &[("timeout", 0), ("idle", 7200)], "on 7200/15/9", "on 7200/15/9"),
        (&["KA_RULES=* off"], &[("keepalive", 1)], "on 7200/75/9", "on 7200/75/9"),
        (
            &["KA_RULES=* off"],
            &[("keepalive", 1), ("idle", 60), ("interval", 60)],
            "on 60/60/9",
            "on 60/60/9",
        ),
        (
            &["KA_RULES=* off"],
            &[("keepalive", 1), ("idle", 60), ("interval", 15)],
            "on 60/15/9",
            "on 60/15/9",
        ),
        (
            &["KA_RULES=* idle=300"],
            &[("keepalive", 1), ("idle", 60), ("interval", 60)],
            "on 60/60/9",
            "on 60/60/9",
        ),
        (&["KA_RULES=* idle=300"], &[("keepalive", 0), ("interval", 75)], "off 300/75/9", "off 300/75/9"),
        (&["KA_RULES=* idle=300 user-timeout=5"], &[("timeout", 0)], "on 300/15/9", "on 300/15/9"),
    ] {
        for (hooked, shows) in [(true, ours), (false, foreign)] {
            let settings = settings(entries);
            let mut socket = Fake::new(Kind::Tcp);
            if hooked {
                _ = decide::set_up(&settings, &mut socket);
            }
            for &(name, value) in sets {
                set_by_program(&settings, &mut socket, name, value);
            }
            for look in 1..3 {
                _ = check(&settings, &mut socket, HERE);
                assert_eq!(socket.shows(), shows, "{entries:?} {sets:?} hooked {hooked}, look {look}");
            }
        }
    }
}

#[test]
fn reasons() {
    let reason = |entries: &[&str], mut socket: Fake| match check(&settings(entries), &mut socket, HERE) {
        Outcome::Skipped(why) => Some(why),
        Outcome::Written(_) => None,
    };
    let tcp = || Fake::new(Kind::Tcp);
    assert_eq!(reason(&[], Fake::new(Kind::Other)), Some(SkipReason::NotTcp));
    assert_eq!(reason(&["KA_RULES=* off"], Fake::new(Kind::Other)), Some(SkipReason::NotTcp));
    assert_eq!(reason(&[], tcp().program(&[("idle", 60)])), Some(SkipReason::AlreadySet));
    assert_eq!(reason(&["KA_IDLE=7200"], tcp().program(&[("interval", 15)])), Some(SkipReason::AlreadySet));
    assert_eq!(reason(&[], tcp().program(&[("idle", 61)])), Some(SkipReason::ProgramsOwn));
    assert_eq!(reason(&[], tcp().program(&[("interval", 15)])), Some(SkipReason::ProgramsOwn));
    assert_eq!(reason(&["KA_RULES=* off"], tcp().program(&[("idle", 61)])), Some(SkipReason::Off));
    assert_eq!(reason(&["KA_RULES=* off"], tcp()), Some(SkipReason::Off));
    assert_eq!(reason(&["KA_RULES=* count=9"], tcp().program(OURS)), Some(SkipReason::AlreadySet));
    assert_eq!(reason(&["KA_IDLE=7200", "KA_INTERVAL=75"], tcp()), Some(SkipReason::NoMarker));
    assert_eq!(reason(&[], Fake::new(Kind::Sandboxed)), Some(SkipReason::Refused(EPERM)));
    assert_eq!(reason(&["KA_RULES=* idle=5"], Fake::new(Kind::Sandboxed)), Some(SkipReason::Refused(EPERM)));
    assert_eq!(reason(&[], tcp()), None);
}

#[test]
fn what_is_not_tcp_is_asked_once_and_left_alone() {
    for entries in [
        &[][..],
        &["KA_FORCE=1"],
        &["KA_RULES=* idle=5"],
        &["KA_RULES=* off", "KA_FORCE=1", "KA_USER_TIMEOUT=9"],
    ] {
        let mut socket = Fake::new(Kind::Other).program(&[("keepalive", 1)]);
        let outcome = check(&settings(entries), &mut socket, HERE);
        assert_eq!(
            (outcome, &*socket.asked()),
            (Outcome::Skipped(SkipReason::NotTcp), "get idle"),
            "{entries:?}"
        );
        if settings(entries).force {
            set_by_program(&settings(entries), &mut socket, "keepalive", 0);
            assert_eq!((socket.on, &*socket.asked()), (false, "get idle"), "{entries:?}");
        }
    }
}

#[test]
fn namespaces() {
    let here = PerField([300, 20, 3, 0]);
    for (entries, sets, shows) in [
        (&[][..], &[][..], "on 60/15/9"),
        (&[], &[("interval", 75)], "on 60/75/9"),
        (&[], &[("idle", 7200)], "off 7200/20/3"),
        (&["KA_IDLE=system"], &[], "on 300/15/9"),
        (&["KA_IDLE=300"], &[], "on 300/15/9"),
        (&["KA_RULES=* off"], OURS, "off 300/20/3"),
        (&["KA_RULES=* idle=system count=system"], OURS, "on 300/15/3"),
    ] {
        for known in [false, true] {
            let mut socket = Fake { namespace: here, known, ..Fake::new(Kind::Tcp) }.program(sets);
            let settings = settings(entries);
            _ = check(&settings, &mut socket, HERE);
            let once = socket.calls.iter().filter(|call| *call == "read defaults").count();
            assert_eq!(once, usize::from(!known), "{:?}", socket.calls);
            assert_eq!(socket.shows(), shows, "{entries:?} {sets:?} {known:?}");
        }
    }
    // The namespace's value is ours as well: the next field tells.
    let mut socket = Fake { namespace: PerField([60, 75, 9, 0]), ..Fake::new(Kind::Tcp) };
    _ = check(&settings(&[]), &mut socket, HERE);
    assert_eq!(socket.shows(), "on 60/15/9");
}

/// As long as the namespace cannot be asked, Linux's own values are taken for its. Once it can be asked all is well.
#[test]
fn a_namespace_that_cannot_be_asked() {
    let here = PerField([300, 20, 3, 0]);
    for (entries, sets, shows, later) in [
        (&[][..], &[][..], "off 300/20/3", "on 60/15/9"),
        (&[], &[("idle", 20)], "off 20/20/3", "off 20/20/3"),
        (&[], &[("idle", 60)], "off 60/20/3", "off 60/20/3"),
        (&["KA_FORCE=1"], &[], "on 60/15/9", "on 60/15/9"),
        (&["KA_RULES=* idle=5", "KA_FORCE=1"], &[], "on 5/5/9", "on 5/5/9"),
        (&["KA_RULES=* idle=5"], &[], "on 300/20/3", "on 5/5/9"),
        (&["KA_RULES=* off"], &[], "off 300/20/3", "off 300/20/3"),
    ] {
        let mut socket =
            Fake { namespace: here, known: false, short: true, ..Fake::new(Kind::Tcp) }.program(sets);
        let settings = settings(entries);
        _ = check(&settings, &mut socket, HERE);
        assert_eq!(socket.shows(), shows, "{entries:?} {sets:?}");
        socket.short = false;
        _ = check(&settings, &mut socket, HERE);
        assert_eq!(socket.shows(), later, "{entries:?} {sets:?}");
    }
}

#[test]
fn rules() {
    let system = ["KA_IDLE=system", "KA_INTERVAL=system", "KA_COUNT=system"];
    let with = |rules: &'static str| [&system[..], &[rules]].concat();
    const ALL: &str = "get idle, who, get interval, get count, get timeout";
    for (entries, sets, shows, then) in [
        (vec!["KA_RULES=10.0.0.2 off"], &[][..], "on 60/15/9", ", set keepalive, set idle, set interval"),
        (vec!["KA_RULES=10.0.0.1 idle=5"], &[], "on 5/5/9", ", set keepalive, set idle, set interval"),
        (vec!["KA_RULES=* count=3"], &[], "on 60/15/3", ", set keepalive, set idle, set interval, set count"),
        (vec!["KA_RULES=* off"], &[], "off 7200/75/9", ""),
        // The program's own.
        (vec!["KA_RULES=* off"], &[("keepalive", 1)], "on 7200/75/9", ""),
        (vec!["KA_RULES=* off"], &[("keepalive", 1), ("idle", 60), ("interval", 60)], "on 60/60/9", ""),
        (vec!["KA_RULES=* off", "KA_FORCE=1"], &[("keepalive", 1), ("idle", 20)], "on 20/75/9", ""),
        (
            vec!["KA_RULES=* idle=5"],
            &[("keepalive", 1), ("idle", 20)],
            "on 20/5/9",
            ", set keepalive, set interval",
        ),
        (vec!["KA_RULES=* idle=5"], &[("idle", 60), ("interval", 60)], "on 60/60/9", ", set keepalive"),
        // What an earlier connect of ours has set is replaced, or taken back.
        (vec!["KA_RULES=10.0.0.2 off"], OURS, "on 60/15/9", ""),
        (vec!["KA_RULES=10.0.0.1 idle=5"], OURS, "on 5/5/9", ", set idle, set interval"),
        (vec!["KA_RULES=* off"], OURS, "off 7200/75/9", ", set keepalive, set idle, set interval"),
        (
            vec!["KA_RULES=10.0.0.2 idle=20 user-timeout=1"],
            &[("keepalive", 1), ("idle", 20), ("interval", 15), ("timeout", 1000)],
            "on 60/15/9",
            ", set idle, set timeout",
        ),
        // One value that is ours, among others that are not, is the program's.
        (
            vec!["KA_RULES=10.0.0.2 idle=20"],
            &[("idle", 20), ("interval", 16)],
            "on 20/16/9",
            ", set keepalive",
        ),
        (vec!["KA_RULES=10.0.0.2 idle=20"], &[("interval", 15)], "on 60/15/9", ", set keepalive, set idle"),
        // Where everything is left to the kernel, only a rule sets something.
        (with("KA_RULES=* idle=5"), &[], "on 5/75/9", ", set keepalive, set idle"),
        (with("KA_RULES=* idle=5"), &[("idle", 20), ("interval", 20)], "on 20/20/9", ", set keepalive"),
        (with("KA_RULES=10.0.0.2 idle=5"), &[], "on 7200/75/9", ", set keepalive"),
        // What the target leaves to the kernel is the program's, unless another target has set it.
        (
            with("KA_RULES=10.0.0.2 idle=5"),
            &[("keepalive", 1), ("idle", 5), ("count", 7)],
            "on 7200/75/7",
            ", set idle",
        ),
    ] {
        let mut socket = Fake::new(Kind::Tcp).program(sets);
        _ = check(&settings(&entries), &mut socket, HERE);
        let asked = format!("{ALL}{then}");
        assert_eq!((&*socket.shows(), &*socket.asked()), (shows, &*asked), "{entries:?} {sets:?}");
    }
}

/// What is put back after the program has set an option, and what it takes to know that.
#[test]
fn held() {
    let ours = OURS;
    let by_a_raw_call: &[(&str, u32)] = &[("idle", 33), ("interval", 15), ("count", 9)];
    const OFF: &str = "KA_RULES=10.0.0.2 off";
    const ON: &str = "KA_RULES=10.0.0.2 idle=5";
    const ALL: &str = "get idle, get interval, get count, get timeout";
    const COUNT_AND_ALL: &str = "get count, get idle, get interval, get count, get timeout";
    let (keepalive, idle) = (Opt::KeepAlive, Opt::Value(Field::Idle));
    let (interval, count) = (Opt::Value(Field::Interval), Opt::Value(Field::Count));
    let timeout = Opt::Value(Field::UserTimeout);
    for (entries, sets, opt, held, asked) in [
        (&[][..], ours, keepalive, Some(1), "get idle"),
        (&[], ours, idle, Some(60), "get idle"),
        (&[], ours, count, Some(9), "get count"),
        (&[], by_a_raw_call, keepalive, None, "get idle"),
        (&[], by_a_raw_call, idle, None, "get idle"),
        (&[], by_a_raw_call, interval, Some(15), "get interval"),
        (&[], by_a_raw_call, count, Some(9), "get count"),
        // A field that is never set is not even asked for.
        (&[], ours, timeout, None, ""),
        (&["KA_INTERVAL=system"], ours, interval, None, ""),
        (&["KA_USER_TIMEOUT=5"], &[("timeout", 5000)], timeout, Some(5000), "get timeout"),
        (&["KA_USER_TIMEOUT=5"], &[("timeout", 5001)], timeout, None, "get timeout"),
        (&["KA_RULES=10.0.0.2 user-timeout=5"], &[("timeout", 5000)], timeout, Some(5000), "get timeout"),
        // A rule's value is ours as well.
        (&[ON], &[("idle", 5), ("interval", 5)], idle, Some(5), "get idle"),
        (&[ON], &[("idle", 5), ("interval", 5)], keepalive, Some(1), ALL),
        (&[ON], &[("idle", 5)], keepalive, None, ALL),
        // With rules, a value that is ours and the kernel's too says nothing by itself.
        (&[ON], ours, count, Some(9), COUNT_AND_ALL),
        (&[ON], by_a_raw_call, count, None, COUNT_AND_ALL),
        (&[OFF], ours, count, Some(9), COUNT_AND_ALL),
        (&[OFF], &[], count, None, COUNT_AND_ALL),
        (&[OFF], by_a_raw_call, interval, Some(15), "get interval"),
        (&[OFF], &[], keepalive, None, ALL),
        (&[OFF], ours, keepalive, Some(1), ALL),
        // Without a marker every socket is taken for one of ours, unless a rule may have left it alone.
        (&["KA_IDLE=7200", "KA_INTERVAL=75"], &[], keepalive, Some(1), "get idle"),
        (&["KA_IDLE=7200", "KA_INTERVAL=75", ON], &[], keepalive, Some(1), ALL),
        (&["KA_IDLE=7200", "KA_INTERVAL=75", OFF], &[], keepalive, None, ALL),
        (&["KA_IDLE=7200", "KA_INTERVAL=75", OFF], &[], count, None, COUNT_AND_ALL),
    ] {
        let mut socket = Fake::new(Kind::Tcp).program(sets);
        let settings = settings(entries);
        let is = decide::hold(&settings, &mut socket, opt);
        assert_eq!((is, &*socket.asked()), (held, asked), "{entries:?} {sets:?} {opt:?}");
    }
    // What is not TCP has nothing to hold.
    for opt in [keepalive, idle, count] {
        let held = decide::hold(&settings(&[]), &mut Fake::new(Kind::Other), opt);
        assert_eq!(held, None, "{opt:?}");
    }
}

/// A socket that refuses some options, with the number of the option as the error.
struct Picky(Fake, &'static [Field]);

impl Socket for Picky {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        self.0.get(opt)
    }

    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno> {
        match opt {
            Opt::Value(field) if self.1.contains(&field) => Err(100 + field as Errno),
            _ => self.0.set(opt, value),
        }
    }

    fn defaults(&mut self) -> Defaults {
        self.0.defaults()
    }

    fn is_accepted(&self) -> bool {
        self.0.is_accepted()
    }

    fn chosen(&mut self) -> Opts {
        self.0.chosen()
    }
}

/// One refused option does not keep the others from being tried, and the first refusal is what is told of.
#[test]
fn options_that_are_refused() {
    use Field::*;
    let settings = settings(&["KA_USER_TIMEOUT=5"]);
    for (refuses, shows, refused) in [
        (&[Idle][..], "on 7200/15/9+5000", Some(100)),
        (&[Interval], "on 60/75/9+5000", Some(101)),
        (&[Idle, Interval], "on 7200/75/9+5000", Some(100)),
        (&[Count, UserTimeout], "on 60/15/9", Some(102)),
        (&[UserTimeout], "on 60/15/9", None),
        (&[], "on 60/15/9+5000", None),
    ] {
        let mut socket = Picky(Fake::new(Kind::Tcp), refuses);
        let outcome = decide::set_up(&settings, &mut socket);
        let Outcome::Written(written) = outcome else { panic!("{refuses:?}: {outcome:?}") };
        assert_eq!((&*socket.0.shows(), written.refused), (shows, refused), "{refuses:?}");
        for field in Field::ALL {
            let value = settings.global.resolve(&Defaults::LINUX).of(field).map(|n| n.get());
            let want = if refuses.contains(&field) { None } else { value };
            assert_eq!(written.fields.of(field), want, "{refuses:?} {field:?}");
        }
    }
    // The only one that there is to set.
    let settings = self::settings(&["KA_RULES=10.0.0.1 count=3"]);
    let mut socket = Picky(Fake::new(Kind::Tcp).program(OURS), &[Count]);
    let peer = Service { peer: HERE.parse().unwrap(), port: 80 };
    let outcome = decide::check(&settings, &mut socket, &mut |_: &mut Picky| Ok(peer));
    assert_eq!(outcome, Outcome::Skipped(SkipReason::Refused(102)));
}

#[test]
fn which_connects_have_begun() {
    for errno in 0..200 {
        assert!(socket::connect_started(0, errno), "errno is not looked at on success: {errno}");
        let goes_on = errno == libc::EINPROGRESS || errno == libc::EINTR;
        assert_eq!(socket::connect_started(-1, errno), goes_on, "{errno}");
        // Nothing that connect(2) returns.
        for result in [1, -2, i32::MIN, i32::MAX] {
            assert!(!socket::connect_started(result, errno), "{result} {errno}");
        }
    }
}

#[test]
fn which_failures_may_pass() {
    let short = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    for errno in -200..200 {
        assert_eq!(socket::is_shortage(errno), short.contains(&errno), "{errno}");
    }
}

/// By a table as socket(2) has it; the kernel itself is asked elsewhere.
#[test]
fn which_sockets_are_tcp() {
    use libc::*;
    let flags = [0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK];
    for domain in 0..50 {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP, 0, 7, 0x1001] {
            for protocol in 0..300 {
                let want = matches!(domain, AF_INET | AF_INET6)
                    && kind == SOCK_STREAM
                    && matches!(protocol, 0 | IPPROTO_TCP | IPPROTO_MPTCP);
                for flags in flags {
                    let is = socket::is_tcp(domain, kind | flags, protocol);
                    assert_eq!(is, want, "{domain} {kind} {flags:#x} {protocol}");
                }
            }
        }
    }
}

#[test]
fn a_peer_that_the_kernel_does_not_tell_has_no_rule() {
    let mut socket = Fake::new(Kind::Tcp);
    let outcome =
        decide::check(&settings(&["KA_RULES=* off"]), &mut socket, &mut |_: &mut Fake| Err(libc::EPERM));
    assert!(matches!(outcome, Outcome::Written(_)));
    assert_eq!(socket.shows(), "on 60/15/9");
}

#[test]
fn a_socket_without_a_peer_is_left_alone() {
    let mut socket = Fake::new(Kind::Tcp);
    let rules = settings(&["KA_RULES=10.9.9.9 off"]);
    let outcome = decide::check(&rules, &mut socket, &mut |_: &mut Fake| Err(libc::ENOTCONN));
    assert_eq!(outcome, Outcome::Skipped(SkipReason::PeerUnknown));
    assert_eq!(socket.shows(), "off 7200/75/9");
}

/// A listener whose own values equal ours hands them on: `off` takes nothing of that away.
#[test]
fn what_is_accepted_has_nothing_of_ours() {
    for entries in [&["KA_RULES=* off"][..], &["KA_RULES=* off", "KA_FORCE=1"]] {
        let mut socket =
            Fake::new(Kind::Tcp).program(&[("ka", 1), ("idle", 60), ("interval", 15), ("count", 9)]);
        socket.accepted = true;
        let before = socket.shows();
        let outcome = check(&settings(entries), &mut socket, HERE);
        assert_eq!(outcome, Outcome::Skipped(SkipReason::Off), "{entries:?}");
        assert_eq!(socket.shows(), before, "{entries:?}");
    }
}

// What must hold whatever the settings are, and whatever the program does.

/// Values that no setting here has: by them the program's own are known again.
const OWN: [u32; 4] = [1001, 1002, 103, 1_004_000];

fn any_settings() -> impl Strategy<Value = Vec<String>> {
    let idle = prop::sample::select(vec!["", "60", "5", "7200", "300", "system"]);
    let interval = prop::sample::select(vec!["", "15", "75", "20", "system"]);
    let count = prop::sample::select(vec!["", "9", "3", "system"]);
    let timeout = prop::sample::select(vec!["", "off", "auto", "7"]);
    let rule = prop::sample::select(vec![
        "10.0.0.1 off",
        "10.0.0.1 idle=30",
        "10.0.0.1 idle=system",
        "* count=4 user-timeout=8",
        "10.0.0.2 off",
        "* interval=system count=system",
        "10.0.0.2 idle=7200 interval=6 user-timeout=auto",
        "10.0.0.1 user-timeout=off interval=75",
    ]);
    let rules = prop::collection::vec(rule, 0..3);
    (idle, interval, count, timeout, rules, any::<bool>()).prop_map(
        |(idle, interval, count, timeout, rules, force)| {
            vec![
                format!("KA_IDLE={idle}"),
                format!("KA_INTERVAL={interval}"),
                format!("KA_COUNT={count}"),
                format!("KA_USER_TIMEOUT={timeout}"),
                format!("KA_RULES={}", rules.join(";")),
                format!("KA_FORCE={}", u32::from(force)),
            ]
        },
    )
}

fn any_namespace() -> impl Strategy<Value = Defaults> {
    prop::sample::select(vec![[7200, 75, 9], [300, 20, 3], [10, 75, 9], [7200, 20, 9]])
        .prop_map(|[i, n, c]| PerField([i, n, c, 0]))
}

/// What the program sets by itself.
fn any_own() -> impl Strategy<Value = Vec<(&'static str, u32)>> {
    let set = prop::sample::select(vec![
        ("keepalive", 0),
        ("keepalive", 1),
        ("idle", OWN[0]),
        ("interval", OWN[1]),
        ("count", OWN[2]),
        ("timeout", OWN[3]),
    ]);
    prop::collection::vec(set, 0..4)
}

/// A socket that has gone its way: made by the hook or not, then set by the program.
fn made(settings: &Settings, kind: Kind, namespace: Defaults, hooked: bool, own: &[(&str, u32)]) -> Fake {
    let mut socket = Fake { namespace, ..Fake::new(kind) };
    if hooked {
        _ = decide::set_up(settings, &mut socket);
    }
    for &(name, value) in own {
        if hooked {
            set_by_program(settings, &mut socket, name, value);
        } else {
            socket = socket.program(&[(name, value)]);
        }
    }
    socket.calls.clear();
    socket
}

fn read(entries: &[String]) -> Box<Settings> {
    settings(&entries.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without force no value of the program's own is ever changed.
    #[test]
    fn the_programs_own_values_stay(entries in any_settings(), namespace in any_namespace(), hooked: bool, own in any_own(), own_later in any_own()) {
        let mut settings = read(&entries);
        settings.force = false;
        let mut socket = made(&settings, Kind::Tcp, namespace, hooked, &own);
        for later in [&[][..], &own_later] {
            for &(name, value) in later {
                set_by_program(&settings, &mut socket, name, value);
            }
            let before = socket.clone();
            _ = check(&settings, &mut socket, HERE);
            for (i, &value) in OWN.iter().enumerate() {
                if before.values[i] == Some(value) {
                    prop_assert_eq!(socket.values[i], Some(value), "{} -> {}", before.shows(), socket.shows());
                }
            }
            // What it has switched stays so, where the library saw it.
            if hooked && before.chosen.has(Opt::KeepAlive) {
                prop_assert_eq!(socket.on, before.on, "{} -> {}", before.shows(), socket.shows());
            }
        }
    }

    /// A look at a socket that was looked at changes nothing any more.
    #[test]
    fn the_second_look_changes_nothing(entries in any_settings(), namespace in any_namespace(), hooked: bool, own in any_own()) {
        let settings = read(&entries);
        let mut socket = made(&settings, Kind::Tcp, namespace, hooked, &own);
        _ = check(&settings, &mut socket, HERE);
        let once = socket.clone();
        _ = check(&settings, &mut socket, HERE);
        prop_assert_eq!(once.shows(), socket.shows());
    }

    /// Without force, `off` is as if the library were not there, whoever was connected to before. (But for a program that
    /// chose all the values by which we would know the socket again, and not the switch: that stays on.)
    #[test]
    fn off_leaves_no_trace(entries in any_settings(), namespace in any_namespace(), own in any_own(), before: bool) {
        let mut entries = entries;
        entries[4] = entries[4].replace("KA_RULES=", "KA_RULES=10.0.0.3 off;");
        let mut settings = read(&entries);
        settings.force = false;
        let mut own = own;
        if before {
            own.push(("keepalive", 1));
        }
        let mut socket = made(&settings, Kind::Tcp, namespace, true, &own);
        if before {
            _ = check(&settings, &mut socket, HERE);
        }
        let without = Fake { namespace, ..Fake::new(Kind::Tcp) }.program(&own);
        _ = check(&settings, &mut socket, "10.0.0.3");
        prop_assert_eq!(socket.shows(), without.shows());
    }

    /// As many calls as the table has, and the namespace is read at most once.
    #[test]
    fn few_calls(entries in any_settings(), namespace in any_namespace(), hooked: bool, own in any_own()) {
        let settings = read(&entries);
        let mut socket = made(&settings, Kind::Tcp, namespace, hooked, &own);
        for _ in 0..3 {
            _ = check(&settings, &mut socket, HERE);
        }
        let count = |socket: &Fake, name: &str| socket.calls.iter().filter(|call| *call == name).count();
        prop_assert!(count(&socket, "read defaults") <= 1, "{:?}", socket.calls);
        socket.calls.clear();
        _ = check(&settings, &mut socket, HERE);
        prop_assert!(socket.calls.len() <= 10, "{:?}", socket.calls);
        // A new one is asked for its marker, if there are no rules.
        if settings.rules.is_empty() {
            let mut new = made(&settings, Kind::Tcp, namespace, true, &[]);
            _ = check(&settings, &mut new, HERE);
            prop_assert!(new.calls.len() <= 2, "{:?}", new.calls);
            prop_assert_eq!(count(&new, "set keepalive"), 0);
        }
    }

    /// With force, and without rules, the plain values are in every socket that was set up, whatever the program does.
    #[test]
    fn force_wins(entries in any_settings(), namespace in any_namespace(), own in any_own(), own_later in any_own()) {
        let mut settings = read(&entries);
        settings.rules.clear();
        settings.force = true;
        let plain = settings.global.resolve(&namespace);
        let mut socket = made(&settings, Kind::Tcp, namespace, true, &own);
        _ = check(&settings, &mut socket, HERE);
        for &(name, value) in &own_later {
            set_by_program(&settings, &mut socket, name, value);
        }
        let fields = [Field::Idle, Field::Interval, Field::Count, Field::UserTimeout];
        for field in fields.into_iter().filter(|&field| plain.of(field).is_some()) {
            prop_assert_eq!(Some(socket.value(field)), plain.of(field).map(|n| n.get()), "{:?} {}", field, socket.shows());
        }
        prop_assert!(socket.on, "{}", socket.shows());
    }

    /// What is not TCP, or must not be touched, is not.
    #[test]
    fn nothing_is_set_that_must_not_be(entries in any_settings(), namespace in any_namespace(), own in any_own()) {
        let settings = read(&entries);
        for kind in [Kind::Other, Kind::Sandboxed] {
            let mut socket = made(&settings, kind, namespace, false, &own);
            let before = socket.clone();
            _ = check(&settings, &mut socket, HERE);
            prop_assert_eq!(socket.shows(), before.shows());
            let sets = socket.calls.iter().filter(|call| call.starts_with("set ")).count();
            prop_assert!(kind == Kind::Sandboxed || sets == 0, "{:?}", socket.calls);
        }
    }

    /// MPTCP differs from TCP in its user timeout alone.
    #[test]
    fn mptcp_is_like_tcp(entries in any_settings(), namespace in any_namespace(), hooked: bool) {
        let settings = read(&entries);
        let mut shown = [Kind::Tcp, Kind::Mptcp].map(|kind| {
            let mut socket = made(&settings, kind, namespace, hooked, &[]);
            _ = check(&settings, &mut socket, HERE);
            socket.values[3] = None;
            socket.shows()
        });
        prop_assert_eq!(shown[0].clone(), std::mem::take(&mut shown[1]));
    }
}
