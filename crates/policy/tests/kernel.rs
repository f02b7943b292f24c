//! The kernel as the judge: what the settings accept is what it takes and then shows, and what they refuse it refuses.

use std::ffi::c_int;
use std::io::Error;
use std::mem::size_of;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use kashim_policy::decide;
use kashim_policy::keepalive::{Defaults, Field};
use kashim_policy::outcome::{Outcome, SkipReason};
use kashim_policy::parse::{self, MAX_COUNT, MAX_SECONDS, MAX_USER_TIMEOUT};
use kashim_policy::rules::Service;
use kashim_policy::settings::Settings;
use kashim_policy::socket::{self, Errno, Opt, Opts, Socket};
use kashim_policy::variables::{Environment, Global};
use libc::{AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, SO_KEEPALIVE, SOCK_STREAM, SOL_SOCKET};
use proptest::prelude::*;

/// A socket of the kernel's own.
struct Real {
    fd: OwnedFd,
}

impl Real {
    fn new(domain: c_int, kind: c_int, protocol: c_int) -> Result<Self, Error> {
        // SAFETY: three numbers.
        match unsafe { libc::socket(domain, kind, protocol) } {
            -1 => Err(Error::last_os_error()),
            // SAFETY: a new descriptor, which nobody else has.
            fd => Ok(Real { fd: unsafe { OwnedFd::from_raw_fd(fd) } }),
        }
    }

    fn tcp() -> Self {
        Real::new(AF_INET, SOCK_STREAM, 0).expect("a TCP socket")
    }

    fn set_number(&self, level: c_int, name: c_int, value: c_int) -> Result<(), Errno> {
        let size = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: it points to a variable of ours of the size that is said.
        match unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, name, (&raw const value).cast(), size) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error().raw_os_error().unwrap()),
        }
    }

    fn number(&self, level: c_int, name: c_int) -> Result<c_int, Errno> {
        let mut value: c_int = 0;
        let mut size = size_of::<c_int>() as libc::socklen_t;
        let (at, size) = (&raw mut value, &raw mut size);
        // SAFETY: both point to variables of ours of the size that is said.
        match unsafe { libc::getsockopt(self.fd.as_raw_fd(), level, name, at.cast(), size) } {
            0 => Ok(value),
            _ => Err(Error::last_os_error().raw_os_error().unwrap()),
        }
    }

    fn number_of(&self, name: c_int) -> c_int {
        self.number(SOL_SOCKET, name).unwrap()
    }

    /// SO_KEEPALIVE and the four numbers.
    fn shows(&mut self) -> (bool, [u32; 4]) {
        let on = self.number_of(SO_KEEPALIVE) != 0;
        (on, Field::ALL.map(|field| self.get(Opt::Value(field)).unwrap()))
    }
}

fn level_and_name(opt: Opt) -> (c_int, c_int) {
    match opt {
        Opt::KeepAlive => (SOL_SOCKET, SO_KEEPALIVE),
        Opt::Value(Field::Idle) => (IPPROTO_TCP, libc::TCP_KEEPIDLE),
        Opt::Value(Field::Interval) => (IPPROTO_TCP, libc::TCP_KEEPINTVL),
        Opt::Value(Field::Count) => (IPPROTO_TCP, libc::TCP_KEEPCNT),
        Opt::Value(Field::UserTimeout) => (IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    }
}

impl Socket for Real {
    fn get(&mut self, opt: Opt) -> Result<u32, Errno> {
        let (level, name) = level_and_name(opt);
        self.number(level, name).map(|n| n as u32)
    }

    fn set(&mut self, opt: Opt, value: u32) -> Result<(), Errno> {
        let (level, name) = level_and_name(opt);
        self.set_number(level, name, value as c_int)
    }

    fn defaults(&mut self) -> Defaults {
        namespace()
    }

    fn is_accepted(&self) -> bool {
        false
    }

    fn chosen(&mut self) -> Opts {
        Opts::default()
    }
}

/// What a socket shows that nobody has touched.
fn namespace() -> Defaults {
    let mut defaults = Defaults::LINUX;
    for field in Field::KEEPALIVE {
        defaults.put(field, Real::tcp().get(Opt::Value(field)).unwrap());
    }
    defaults
}

fn read(entries: &[String]) -> Box<Settings> {
    let mut settings = Box::new(Settings::EMPTY);
    let environment = Environment::from_entries(entries.iter().map(String::as_bytes));
    settings.read(&environment, &Global::read(&environment), &mut |complaint| panic!("{complaint:?}"));
    settings
}

/// Every number that is accepted is one that the kernel takes and shows, and it takes no other. (But for a user timeout
/// of 0, which is called `off` here.)
#[test]
fn the_limits_are_the_kernels() {
    type Read = fn(&[u8], u32) -> Result<u32, parse::ErrorKind>;
    let around = |middle: u32| middle - 3..middle + 3;
    let numbers = || (0..300).chain(around(MAX_SECONDS)).chain(around(65536)).chain(around(100_000));
    let timeouts = (1..300).chain(around(MAX_USER_TIMEOUT)).chain(around(u32::MAX / 1000 - 3));
    let mut socket = Real::tcp();
    for (field, read, max, scale, numbers) in [
        (Field::Idle, parse::duration as Read, MAX_SECONDS, 1, numbers().collect::<Vec<_>>()),
        (Field::Interval, parse::duration, MAX_SECONDS, 1, numbers().collect()),
        (Field::Count, parse::count, MAX_COUNT, 1, numbers().collect()),
        (Field::UserTimeout, parse::duration, MAX_USER_TIMEOUT, 1000, timeouts.collect()),
    ] {
        for n in numbers {
            let accepted = read(n.to_string().as_bytes(), max);
            let taken = socket.set(Opt::Value(field), n * scale);
            assert_eq!(accepted.is_ok(), taken.is_ok(), "{field:?} {n}: {accepted:?}, {taken:?}");
            if let Ok(accepted) = accepted {
                assert_eq!(socket.get(Opt::Value(field)), Ok(accepted * scale), "{field:?} {n}");
            }
        }
    }
}

/// `socket` is about those sockets that the kernel itself calls streams of TCP or MPTCP over IP.
#[test]
fn which_sockets_are_tcp() {
    let flags = [0, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK];
    let mut seen = [0, 0];
    for domain in [AF_INET, AF_INET6, libc::AF_UNIX, libc::AF_NETLINK, libc::AF_VSOCK, libc::AF_UNSPEC] {
        for kind in -1..12 {
            for protocol in [-1, 0, 1, 2, 6, 17, 41, 58, 132, 136, 255, 256, 262, 263] {
                for flags in flags {
                    let Ok(socket) = Real::new(domain, kind | flags, protocol) else { continue };
                    let is = socket.number_of(libc::SO_TYPE) == SOCK_STREAM
                        && matches!(socket.number_of(libc::SO_DOMAIN), AF_INET | AF_INET6)
                        && matches!(socket.number_of(libc::SO_PROTOCOL), IPPROTO_TCP | IPPROTO_MPTCP);
                    let said = socket::is_tcp(domain, kind | flags, protocol);
                    assert_eq!(said, is, "{domain}, {kind} | {flags:#x}, {protocol}");
                    seen[usize::from(is)] += 1;
                }
            }
        }
    }
    // At least plain TCP with each of the flags, and UDP and UNIX sockets.
    assert!(seen[1] >= 8 && seen[0] >= 16, "{seen:?}");
}

/// A socket that was connected without the hook is set up, once, and its own values stay.
#[test]
fn connections_that_came_another_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut service = |_: &mut Real| Ok(Service { peer: address.ip(), port: address.port() });
    let here = namespace();
    let settings = read(&["KA_IDLE=77".into(), "KA_INTERVAL=11".into(), "KA_COUNT=5".into()]);
    let connect = || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        Real { fd: stream.into() }
    };
    let mut socket = connect();
    assert_eq!(socket.shows(), (false, here.0));
    assert!(matches!(decide::check(&settings, &mut socket, &mut service), Outcome::Written(_)));
    assert_eq!(socket.shows(), (true, [77, 11, 5, 0]));
    let again = decide::check(&settings, &mut socket, &mut service);
    assert_eq!(again, Outcome::Skipped(SkipReason::AlreadySet));

    let mut socket = connect();
    socket.set(Opt::Value(Field::Idle), 33).unwrap();
    let own = decide::check(&settings, &mut socket, &mut service);
    assert_eq!(own, Outcome::Skipped(SkipReason::ProgramsOwn));
    assert_eq!(socket.shows(), (false, [33, here.0[1], here.0[2], 0]));

    // A rule says `off`: nothing is set, and what a connect to somebody else has set goes back to the namespace's.
    let settings = read(&["KA_IDLE=77".into(), format!("KA_RULES=127.0.0.0/8:{} off", address.port())]);
    let mut socket = connect();
    _ = decide::set_up(&settings, &mut socket);
    _ = decide::check(&settings, &mut socket, &mut service);
    assert_eq!(socket.shows(), (false, here.0));
    _ = decide::check(&settings, &mut socket, &mut |_: &mut Real| Err(libc::EPERM));
    assert_eq!(socket.shows(), (true, [77, 15, 9, 0]));
    _ = decide::check(&settings, &mut socket, &mut service);
    assert_eq!(socket.shows(), (false, here.0));

    let unix = std::os::unix::net::UnixStream::pair().unwrap().0;
    let mut unix = Real { fd: unix.into() };
    let other = decide::check(&settings, &mut unix, &mut service);
    assert_eq!((other, unix.number_of(SO_KEEPALIVE)), (Outcome::Skipped(SkipReason::NotTcp), 0));
}

/// A value as somebody may write it, and what it means: a number of seconds, or the kernel's own.
fn duration(max: u32) -> impl Strategy<Value = (String, Option<u32>)> {
    prop_oneof![
        (1..=max).prop_map(|n| (n.to_string(), Some(n))),
        (1..=max).prop_map(|n| (format!(" {n}s\r"), Some(n))),
        (1..=max / 60).prop_map(|n| (format!("{n}m"), Some(n * 60))),
        (1..=max / 3600).prop_map(|n| (format!("{n}h\t"), Some(n * 3600))),
        Just((max.to_string(), Some(max))),
    ]
}

fn or_system(max: u32) -> impl Strategy<Value = (String, Option<u32>)> {
    prop_oneof![4 => duration(max), 1 => Just(("system".to_owned(), None))]
}

fn count() -> impl Strategy<Value = (String, Option<u32>)> {
    prop_oneof![
        4 => (1..=MAX_COUNT).prop_map(|n| (n.to_string(), Some(n))),
        1 => Just(("system".to_owned(), None))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// From the words in the environment to what `getsockopt` says about a socket: the values are those that were asked
    /// for, and the namespace's where that was asked for.
    #[test]
    fn what_is_accepted_is_what_the_kernel_shows(
        idle in or_system(MAX_SECONDS), interval in or_system(MAX_SECONDS), count in count(),
        timeout in duration(MAX_USER_TIMEOUT), mptcp: bool,
    ) {
        let names = ["KA_IDLE", "KA_INTERVAL", "KA_COUNT", "KA_USER_TIMEOUT"];
        let asked = [&idle, &interval, &count, &timeout];
        let entries: Vec<_> = names.iter().zip(asked).map(|(name, (text, _))| format!("{name}={text}")).collect();
        let here = namespace();
        let mut want = here.0;
        for (place, (_, number)) in want.iter_mut().zip(asked) {
            *place = number.unwrap_or(*place);
        }
        want[3] *= 1000;
        let mptcp = if mptcp { Real::new(AF_INET, SOCK_STREAM, IPPROTO_MPTCP).ok() } else { None };
        let is_mptcp = mptcp.is_some();
        let mut socket = mptcp.unwrap_or_else(Real::tcp);
        let outcome = decide::set_up(&read(&entries), &mut socket);
        let Outcome::Written(written) = outcome else { panic!("{entries:?}: {outcome:?}") };
        prop_assert_eq!((written.keepalive, written.refused), (Some(true), None), "{:?}", &entries);
        prop_assert_eq!(socket.number_of(SO_KEEPALIVE), 1);
        for field in Field::ALL {
            // MPTCP refuses the user timeout.
            if is_mptcp && field == Field::UserTimeout {
                continue;
            }
            prop_assert_eq!(socket.get(Opt::Value(field)), Ok(want[field as usize]), "{:?} {:?}", field, &entries);
            let number = [&idle, &interval, &count, &timeout][field as usize].1;
            let said = number.map(|_| want[field as usize]);
            prop_assert_eq!(written.fields.of(field), said, "{:?} {:?}", field, &entries);
        }
    }

    /// The user timeout that follows from the other three, with the kernel's own values where they are left to it.
    #[test]
    fn the_user_timeout_that_follows(idle in or_system(MAX_SECONDS), interval in or_system(MAX_SECONDS), count in count()) {
        let entries = [
            format!("KA_IDLE={}", idle.0), format!("KA_INTERVAL={}", interval.0), format!("KA_COUNT={}", count.0),
            "KA_USER_TIMEOUT=auto".to_owned(),
        ];
        let mut socket = Real::tcp();
        _ = decide::set_up(&read(&entries), &mut socket);
        let (_, [idle, interval, count, timeout]) = socket.shows();
        let want = (u64::from(idle) + u64::from(interval) * u64::from(count)).min(MAX_USER_TIMEOUT.into());
        prop_assert_eq!(u64::from(timeout), want * 1000, "{:?}", entries);
    }

    /// Whatever bytes a value is made of: if it is accepted, the kernel takes all that follows from it.
    #[test]
    fn nothing_accepted_is_refused_by_the_kernel(text in "[0-9]{1,12}[smh]?|system|auto|off|\\PC{0,4}", which in 0..4usize) {
        let name = ["KA_IDLE", "KA_INTERVAL", "KA_COUNT", "KA_USER_TIMEOUT"][which];
        let entry = format!("{name}={text}");
        let (mut settings, mut accepted) = (Box::new(Settings::EMPTY), true);
        let environment = Environment::from_entries([entry.as_bytes()].into_iter());
        settings.read(&environment, &Global::read(&environment), &mut |_| accepted = false);
        if accepted {
            let mut socket = Real::tcp();
            let outcome = decide::set_up(&settings, &mut socket);
            let Outcome::Written(written) = outcome else { panic!("{text:?}: {outcome:?}") };
            prop_assert_eq!(written.refused, None, "{:?}", &text);
            for field in Field::ALL {
                if let Some(value) = written.fields.of(field) {
                    prop_assert_eq!(socket.get(Opt::Value(field)), Ok(value), "{:?} {:?}", field, &text);
                }
            }
        }
    }
}
