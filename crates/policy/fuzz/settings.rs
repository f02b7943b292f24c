//! Settings out of any bytes, and a socket that they are used on.
//!
//! The bytes are an environment as the kernel hands it to a program: entries with a zero behind each. The first four are
//! not part of it: they are what the program has set by itself.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kashim_policy::decide;
use kashim_policy::variables::{Environment, Global, Variable};
use kashim_policy::keepalive::{Defaults, Field, PerField, Values};
use kashim_policy::line::Line;
use kashim_policy::outcome::Outcome;
use kashim_policy::parse::{MAX_COUNT, MAX_SECONDS, MAX_USER_TIMEOUT};
use kashim_policy::rules::{Action, MAX_RULES, Service};
use kashim_policy::setting_error::SettingError;
use kashim_policy::log::{Log, MAX_LOG_PATH};
use kashim_policy::settings::Settings;
use kashim_policy::socket::{Errno, Opt, Opts, Socket};
use kashim_policy::{describe, ip, skip, warning};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((program, environment)) = data.split_first_chunk::<4>() else { return };
    let entries = || environment.split(|&byte| byte == 0);
    let environment = Environment::from_entries(entries());
    for value in entries().chain(Variable::ALL.iter().filter_map(|&variable| environment.get(variable))) {
        addresses(value);
        let _ = skip::skipped(skip::linked_name(value), environment.get(Variable::Skip));
        skip::is_nameless(value);
    }
    let global = Global::read(&environment);
    if let Log::Path(path) = global.log {
        assert!(path.starts_with(b"/") && path.len() <= MAX_LOG_PATH && !path.contains(&0));
    }

    let mut complaints = 0;
    let mut settings = Box::new(Settings::EMPTY);
    settings.read(&environment, &global, &mut |complaint: &SettingError| {
        complaints += usize::from(complaint.rule.is_none());
        printable(|line| complaint.write(line));
    });
    assert!(complaints <= Variable::ALL.len());
    assert!(settings.rules.as_slice().len() <= MAX_RULES);
    printable(|line| describe::settings(line, &settings));
    warning::each(&settings, &mut |_, warning| {
        printable(|line| warning.write(line));
    });
    in_range(&settings.global);
    for rule in settings.rules.as_slice() {
        if let Action::Values(values) = &rule.action {
            in_range(values);
            printable(|line| describe::values(line, values));
        }
    }
    use_on_a_socket(&settings, *program);
});

/// Ours and the standard library's.
fn addresses(text: &[u8]) {
    let std = std::str::from_utf8(text).unwrap_or("not an address");
    assert_eq!(ip::v4(text).map(Ipv4Addr::from), std.parse().ok());
    assert_eq!(ip::v6(text).map(Ipv6Addr::from), std.parse().ok());
}

/// One line, which is not cut and has nothing in it that a terminal acts on.
fn printable(write: impl FnOnce(&mut Line)) -> Line {
    let mut line = Line::EMPTY;
    write(&mut line);
    let bytes = line.as_bytes();
    assert!(!bytes.is_empty() && bytes.len() < 512 && bytes.iter().all(|byte| (b' '..=b'~').contains(byte)));
    line
}

/// What the kernel takes.
fn limit(field: Field) -> u32 {
    match field {
        Field::Idle | Field::Interval => MAX_SECONDS,
        Field::Count => MAX_COUNT,
        Field::UserTimeout => MAX_USER_TIMEOUT * 1000,
    }
}

fn in_range(values: &Values) {
    for kernel in
        [Defaults::LINUX, PerField([MAX_SECONDS, MAX_SECONDS, MAX_COUNT, 0]), PerField([1, 1, 1, 0])]
    {
        let target = values.resolve(&kernel);
        for field in Field::ALL {
            assert!(target.of(field).is_none_or(|value| value.get() <= limit(field)), "{values:?}");
        }
    }
}

const EPERM: Errno = 1;
const ENOPROTOOPT: Errno = 92;

/// A socket that takes what the kernel takes.
struct Fake {
    values: [u32; 4],
    namespace: Defaults,
    /// The namespace cannot be asked.
    short: bool,
    /// What the program has set where the library saw it.
    chosen: Opts,
    sets: usize,
    refuses: Refuses,
}

enum Refuses {
    Nothing,
    /// Every option: a filter.
    All,
    /// One option, as MPTCP refuses the user timeout.
    One(Field),
    /// Everything of TCP: another protocol.
    Tcp,
}

impl Socket for Fake {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        match opt {
            Opt::KeepAlive => Ok(1),
            Opt::Value(_) if matches!(self.refuses, Refuses::Tcp) => Err(ENOPROTOOPT),
            Opt::Value(field) => Ok(self.values[field as usize]),
        }
    }

    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno> {
        self.sets += 1;
        match (&self.refuses, opt) {
            (Refuses::All, _) => return Err(EPERM),
            (Refuses::One(refused), Opt::Value(field)) if *refused == field => return Err(ENOPROTOOPT),
            (Refuses::Tcp, _) => panic!("what is not TCP is not touched"),
            _ => {}
        }
        if let Opt::Value(field) = opt {
            let least = u32::from(field != Field::UserTimeout);
            assert!((least..=limit(field)).contains(&value), "{field:?} {value}");
            self.values[field as usize] = value;
        }
        Ok(())
    }

    fn defaults(&mut self) -> Defaults {
        if self.short { Defaults::LINUX } else { self.namespace }
    }

    fn chosen(&mut self) -> Opts {
        self.chosen
    }
}

/// Made by the hook or not, changed by the program or not, then connected, twice.
fn use_on_a_socket(settings: &Settings, [how, field, value, peer]: [u8; 4]) {
    let namespaces = [[7200, 75, 9, 0], [300, 20, 3, 0], [10, 75, 9, 0], [32767, 32767, 127, 0]];
    let namespace = PerField(namespaces[usize::from(how >> 6)]);
    let refuses = match how >> 2 & 15 {
        0 => Refuses::All,
        1 => Refuses::Tcp,
        n @ 2..6 => Refuses::One(Field::ALL[usize::from(n) - 2]),
        _ => Refuses::Nothing,
    };
    let mut socket = Fake {
        values: namespace.0,
        namespace,
        short: peer & 128 != 0,
        chosen: Opts::default(),
        sets: 0,
        refuses,
    };
    if how & 1 != 0 && !matches!(socket.refuses, Refuses::Tcp) {
        let outcome = decide::set_up(settings, &mut socket);
        let sets = settings.rules.is_empty() && !matches!(socket.refuses, Refuses::All);
        assert_eq!(matches!(outcome, Outcome::Written(_)), sets);
        printable(|line| describe::outcome(line, &outcome));
    }
    let own = if how & 2 != 0 { Some(Field::ALL[usize::from(field & 3)]) } else { None };
    if let Some(field) = own {
        let opt = Opt::Value(field);
        let held = if settings.force { decide::hold(settings, &mut socket, opt) } else { None };
        let value = held.unwrap_or_else(|| u32::from(value).clamp(1, limit(field)));
        // As the kernel does it, for which it is no more than a call.
        socket.values[field as usize] = value;
        if peer & 64 != 0 && !settings.force {
            socket.chosen = Opts::one(opt);
        }
    }
    let peer = match peer & 3 {
        0 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, peer)),
        1 => IpAddr::V6(Ipv4Addr::new(10, 0, 0, peer).to_ipv6_mapped()),
        2 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, peer.into())),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let service = Service { peer, port: u16::from(value) + 1 };
    printable(|line| line.address(peer, service.port));
    for _ in 0..2 {
        let outcome = decide::check(settings, &mut socket, &mut |_: &mut Fake| Some(service));
        printable(|line| describe::outcome(line, &outcome));
    }
    // SO_KEEPALIVE and the four values, for each of the two looks, and what came before.
    assert!(socket.sets <= 16);
    for opt in Field::ALL.map(Opt::Value).into_iter().chain([Opt::KeepAlive]) {
        decide::hold(settings, &mut socket, opt);
    }
}
