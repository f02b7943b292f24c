//! Text out of bytes that came from anywhere, and settings that are written and read again.

use kashim_policy::keepalive::{Defaults, Field, Values};
use kashim_policy::line::Line;
use kashim_policy::rules::{Action, Rules, Service};
use kashim_policy::setting_error::SettingError;
use kashim_policy::settings::Settings;
use kashim_policy::variables::{Environment, Global};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn text(write: impl FnOnce(&mut Line)) -> String {
    let mut line = Line::EMPTY;
    write(&mut line);
    String::from_utf8(line.as_bytes().to_owned()).unwrap()
}

#[test]
fn quoting() {
    for (bytes, want) in [
        (&b""[..], r#""""#),
        (b"abc ~!", r#""abc ~!""#),
        (b"\"\\", r#""\"\\""#),
        (b"\0\n\r\t\x1b\x7f", r#""\x00\x0a\x0d\x09\x1b\x7f""#),
        (b"\x80\xff\xc3\xa9", r#""\x80\xff\xc3\xa9""#),
    ] {
        assert_eq!(text(|line| line.quoted(bytes)), want);
    }
    let as_many = |n: usize| text(|line| line.escaped("a".repeat(n).as_bytes()));
    assert_eq!(as_many(60), "a".repeat(60));
    assert_eq!(as_many(61), "a".repeat(60) + "...");
    assert_eq!(as_many(100_000), "a".repeat(60) + "...");
}

#[test]
fn a_line_that_is_full() {
    let mut line = Line::EMPTY;
    for _ in 0..100 {
        line.push_str("0123456789");
    }
    line.end();
    let bytes = line.as_bytes();
    assert_eq!(bytes.len(), 512);
    assert!(bytes.ends_with(b"\n") && bytes[..511].iter().all(u8::is_ascii_digit));
}

fn read<'a>(
    entries: impl IntoIterator<Item = &'a [u8]>,
    complain: &mut dyn FnMut(&SettingError),
) -> Box<Settings> {
    let mut settings = Box::new(Settings::EMPTY);
    let environment = Environment::from_entries(entries.into_iter());
    settings.read(&environment, &Global::read(&environment), complain);
    settings
}

const NAMES: [&str; 9] = [
    "KA_IDLE",
    "KA_INTERVAL",
    "KA_COUNT",
    "KA_USER_TIMEOUT",
    "KA_FORCE",
    "KA_RULES",
    "KA_SKIP",
    "KA_LOG",
    "KA_DISABLE",
];

/// Something like a value: bytes, or words that a value could have.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let word = "[0-9]{1,6}[smh]?|system|off|auto|idle=|count=|interval=|user-timeout=|[*:;/ =.-]|10\\.0\\.0\\.1|\\[::1\\]|[a-z]{1,4}";
    prop_oneof![
        any::<Vec<u8>>(),
        prop::collection::vec(word, 0..8).prop_map(|words| words.concat().into_bytes())
    ]
}

/// A duration as somebody may write it.
fn written_duration() -> impl Strategy<Value = (u32, String)> {
    prop_oneof![
        (1..=32767u32).prop_map(|n| (n, n.to_string())),
        (1..=32767u32, 0..4usize).prop_map(|(n, zeroes)| (n, format!("{}{n}s", "0".repeat(zeroes)))),
        (1..=546u32).prop_map(|n| (n * 60, format!("{n}m"))),
        (1..=9u32).prop_map(|n| (n * 3600, format!("{n}h"))),
    ]
}

fn shown(values: &Values) -> [Option<u32>; 4] {
    let target = values.resolve(&Defaults::LINUX);
    [Field::Idle, Field::Interval, Field::Count, Field::UserTimeout]
        .map(|field| target.of(field).map(|n| n.get()))
}

#[derive(Clone, Debug)]
struct Destination {
    text: String,
    address: IpAddr,
    bits: u32,
    ports: (u16, u16),
}

fn destination() -> impl Strategy<Value = Destination> {
    // Few enough addresses and ports that a peer often hits one.
    let v4 =
        (0..4u32, 0..=32u32).prop_map(|(n, bits)| (IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | n)), bits));
    let v6 = (0..4u128, 0..=128u32)
        .prop_map(|(n, bits)| (IpAddr::V6(Ipv6Addr::from_bits(0xfe80 << 112 | n)), bits));
    let ports = prop_oneof![
        Just((0, 65535)),
        (1..9u16).prop_map(|p| (p, p)),
        (1..9u16, 0..9u16).prop_map(|(p, n)| (p, p + n))
    ];
    (prop_oneof![v4, v6], ports).prop_map(|((address, bits), ports)| {
        let host = match address {
            IpAddr::V4(a) => a.to_string(),
            IpAddr::V6(a) => format!("[{a}]"),
        };
        let ports_text = match ports {
            (0, _) => String::new(),
            (low, high) if low == high => format!(":{low}"),
            (low, high) => format!(":{low}-{high}"),
        };
        Destination { text: format!("{host}/{bits}{ports_text}"), address, bits, ports }
    })
}

impl Destination {
    /// By the definition of a prefix: the first bits are the same.
    fn matches(&self, service: &Service) -> bool {
        let same = match (self.address, service.peer.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits,
            _ => false,
        };
        same && (self.ports.0..=self.ports.1).contains(&service.port)
    }
}

fn peer() -> impl Strategy<Value = Service> {
    let address = prop_oneof![
        (0..6u32).prop_map(|n| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | n))),
        (0..6u32).prop_map(|n| IpAddr::V6(Ipv4Addr::from_bits(0x0a00_0000 | n).to_ipv6_mapped())),
        (0..6u128).prop_map(|n| IpAddr::V6(Ipv6Addr::from_bits(0xfe80 << 112 | n))),
        any::<u32>().prop_map(|n| IpAddr::V4(n.into())),
        any::<u128>().prop_map(|n| IpAddr::V6(n.into())),
    ];
    (address, 0..12u16).prop_map(|(peer, port)| Service { peer, port })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One line, of printable ASCII, not cut, whatever stands in the environment; and values that the kernel takes.
    #[test]
    fn any_environment(values in prop::collection::vec((0..9usize, any_value()), 0..6)) {
        let entries: Vec<Vec<u8>> = values.iter().map(|(name, value)| [NAMES[*name].as_bytes(), b"=", value].concat()).collect();
        let mut complaints = Vec::new();
        let settings = read(entries.iter().map(Vec::as_slice), &mut |complaint| complaints.push(text(|line| complaint.write(line))));
        for complaint in complaints {
            prop_assert!(complaint.starts_with("kashim: error: KA_") && complaint.len() < 512, "{}", complaint);
            prop_assert!(complaint.bytes().all(|b| (b' '..=b'~').contains(&b)), "{:?}", complaint);
        }
        let rules = settings.rules.as_slice().iter().filter_map(|rule| match &rule.action {
            Action::Values(values) => Some(values),
            Action::Off => None,
        });
        for values in rules.chain([&settings.global]) {
            let [idle, interval, count, timeout] = shown(values);
            prop_assert!(idle.is_none_or(|n| (1..=32767).contains(&n)), "{:?}", values);
            prop_assert!(interval.is_none_or(|n| (1..=32767).contains(&n)), "{:?}", values);
            prop_assert!(count.is_none_or(|n| (1..=127).contains(&n)), "{:?}", values);
            prop_assert!(timeout.is_none_or(|n| n <= i32::MAX as u32 && n % 1000 == 0), "{:?}", values);
        }
    }

    #[test]
    fn written_and_read_again(idle in written_duration(), interval in written_duration(), count in 1..=127u32, timeout in 1..=2_147_483u32) {
        let entries = [
            format!("KA_IDLE= {}", idle.1), format!("KA_INTERVAL={}\r", interval.1), format!("KA_COUNT=\t{count} "), format!("KA_USER_TIMEOUT={timeout}"),
            format!("KA_RULES=* idle={} interval={} count={count} user-timeout={timeout}s", interval.1, idle.1),
        ];
        let settings = read(entries.iter().map(String::as_bytes), &mut |complaint| panic!("{complaint:?}"));
        prop_assert_eq!(shown(&settings.global), [Some(idle.0), Some(interval.0), Some(count), Some(timeout * 1000)]);
        let Action::Values(values) = settings.rules.as_slice()[0].action else { panic!() };
        prop_assert_eq!(shown(&values), [Some(interval.0), Some(idle.0), Some(count), Some(timeout * 1000)]);
    }

    /// Rules find what their text says, by a definition of a prefix that has nothing to do with masks.
    #[test]
    fn rules_against_a_model(destinations in prop::collection::vec(destination(), 0..6), peers in prop::collection::vec(peer(), 8)) {
        let text: String = destinations.iter().zip(1..).map(|(d, n)| format!("{} count={n};", d.text)).collect();
        let mut rules = Box::new(Rules::NONE);
        rules.read(text.as_bytes(), &Values::default(), &mut |complaint| panic!("{complaint:?}"));
        for peer in peers {
            let found = rules.find(&peer).map(|rule| match rule.action {
                Action::Values(values) => values.count.map_or(0, |n| usize::from(n.get())),
                Action::Off => 0,
            });
            let want = destinations.iter().position(|d| d.matches(&peer)).map(|i| i + 1);
            prop_assert_eq!(found, want, "{} for {:?}", text, peer);
        }
    }
}
