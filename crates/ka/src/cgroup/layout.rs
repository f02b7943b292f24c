//! What stands in the maps of the BPF programs: the structs of `crates/ka/bpf/keepalive.bpf.c`, as bytes.
//!
//! crates/policy works out what is to be set, for each network namespace; the programs only apply it.

use std::fmt;
use std::net::Ipv6Addr;

use kashim_policy::keepalive::{Defaults, Desired, Field};
use kashim_policy::rules::{Action, Family, MAX_RULES};
use kashim_policy::settings::Settings;

/// Bytes of `struct settings`, which has room for one rule more than there can be.
pub const SETTINGS_SIZE: usize = 16 + 16 + 8 + (MAX_RULES + 1) * RULE_SIZE;
const RULE_SIZE: usize = 16 + 16 + 8 + 16;

/// The values for a connection: idle and interval in seconds, count, user timeout in milliseconds; 0 leaves one alone.
pub type Numbers = [u32; 4];

/// `struct rule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The peer's address, with IPv4 mapped.
    pub network: u128,
    /// Which bits of it count.
    pub mask: u128,
    /// First and last port of the service.
    pub ports: (u16, u16),
    /// 0 for all addresses, 4, or 6.
    pub family: u16,
    /// What to set; `None` leaves the connection alone.
    pub want: Option<Numbers>,
}

/// `struct settings`: what is done in one network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What an untouched socket shows there.
    pub defaults: Numbers,
    /// For connections that no rule is for.
    pub global: Numbers,
    /// Our values win over the program's own.
    pub force: bool,
    /// The first that matches counts.
    pub rules: Vec<Rule>,
}

/// As the programs have them.
pub fn numbers(desired: &Desired) -> Numbers {
    Field::ALL.map(|field| desired.of(field).map_or(0, std::num::NonZeroU32::get))
}

impl Policy {
    /// What the settings come to in a network namespace with these defaults.
    pub fn new(settings: &Settings, defaults: &Defaults) -> Self {
        let rule = |rule: &kashim_policy::rules::Rule| {
            let matches = rule.matches();
            let want = match &rule.action {
                Action::Off => None,
                Action::Values(values) => Some(numbers(&values.resolve(defaults))),
            };
            let family = match matches.family {
                Family::Any => 0,
                Family::V4 => 4,
                Family::V6 => 6,
            };
            Rule { network: matches.network, mask: matches.mask, ports: matches.ports, family, want }
        };
        Self {
            defaults: defaults.0,
            global: numbers(&settings.global.resolve(defaults)),
            force: settings.force,
            rules: settings.rules.as_slice().iter().map(rule).collect(),
        }
    }

    /// As the programs read it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SETTINGS_SIZE);
        let put = |bytes: &mut Vec<u8>, numbers: &[u32]| {
            numbers.iter().for_each(|n| bytes.extend(n.to_ne_bytes()));
        };
        put(&mut bytes, &self.defaults);
        put(&mut bytes, &self.global);
        put(&mut bytes, &[self.force.into(), self.rules.len().min(MAX_RULES) as u32]);
        for rule in self.rules.iter().take(MAX_RULES) {
            bytes.extend(rule.network.to_be_bytes());
            bytes.extend(rule.mask.to_be_bytes());
            let (low, high) = rule.ports;
            for half in [low, high, rule.family, rule.want.is_none().into()] {
                bytes.extend(half.to_ne_bytes());
            }
            put(&mut bytes, &rule.want.unwrap_or_default());
        }
        bytes.resize(SETTINGS_SIZE, 0);
        bytes
    }

    /// What stands in a map. `None` if it is too short.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let input = &mut bytes;
        let defaults = four(input)?;
        let global = four(input)?;
        let force = word(input)? != 0;
        let count = word(input)?;
        let rules = (0..count.min(MAX_RULES as u32)).map(|_| Rule::read(input)).collect::<Option<_>>()?;
        Some(Self { defaults, global, force, rules })
    }
}

impl Rule {
    fn read(input: &mut &[u8]) -> Option<Self> {
        let network = u128::from_be_bytes(take(input)?);
        let mask = u128::from_be_bytes(take(input)?);
        let mut half = || Some(u16::from_ne_bytes(take(input)?));
        let (ports, family, off) = ((half()?, half()?), half()?, half()? != 0);
        let want = four(input)?;
        Some(Self { network, mask, ports, family, want: (!off).then_some(want) })
    }
}

/// `struct mark` of a socket in which we have set keepalive and these values.
pub fn mark(values: &Numbers) -> Vec<u8> {
    let keepalive = 1u32;
    values.iter().chain([&keepalive]).flat_map(|number| number.to_ne_bytes()).collect()
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_at_checked(N)?;
    *input = rest;
    head.try_into().ok()
}

fn word(input: &mut &[u8]) -> Option<u32> {
    take(input).map(u32::from_ne_bytes)
}

fn four(input: &mut &[u8]) -> Option<Numbers> {
    Some([word(input)?, word(input)?, word(input)?, word(input)?])
}

/// `60/15/9`, `60/system/9, user timeout 30 s`
pub fn in_words(numbers: &Numbers) -> String {
    let &[idle, interval, count, user_timeout] = numbers;
    let number = |n: u32| if n == 0 { "system".to_owned() } else { n.to_string() };
    let user_timeout = match user_timeout {
        0 => String::new(),
        ms if ms % 1000 == 0 => format!(", user timeout {} s", ms / 1000),
        ms => format!(", user timeout {ms} ms"),
    };
    format!("{}/{}/{}{user_timeout}", number(idle), number(interval), number(count))
}

impl fmt::Display for Rule {
    /// `10.0.0.0/8:3306 300/15/9`, in the language of `KA_RULES` as far as the match goes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.mask.leading_ones();
        let address = Ipv6Addr::from_bits(self.network);
        match self.family {
            4 => {
                let v4 = address.to_ipv4_mapped().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
                let bits = bits.saturating_sub(96);
                if bits == 32 { write!(f, "{v4}")? } else { write!(f, "{v4}/{bits}")? }
            }
            6 if bits == 128 => write!(f, "[{address}]")?,
            6 => write!(f, "[{address}]/{bits}")?,
            _ if self.ports == (0, u16::MAX) => f.write_str("*")?,
            _ => {}
        }
        match self.ports {
            (0, u16::MAX) => {}
            (low, high) if low == high => write!(f, ":{low}")?,
            (low, high) => write!(f, ":{low}-{high}")?,
        }
        match &self.want {
            None => f.write_str(" off"),
            Some(want) => write!(f, " {}", in_words(want)),
        }
    }
}

/// `enum counter`: what became of sockets, and how it is named in JSON.
pub const COUNTERS: [&str; 8] =
    ["set", "already_set", "programs_own", "off", "inner_cgroup", "refused", "unreadable", "held"];

/// How many sockets there were of each.
pub type Counts = [u64; COUNTERS.len()];

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[u8]) -> Policy {
        let entry = [b"KA_RULES=", rules].concat();
        let environment = kashim_policy::variables::Environment::from_entries(std::iter::once(&entry[..]));
        let mut settings = Box::new(Settings::EMPTY);
        settings.read(&environment, &kashim_policy::variables::Global::read(&environment), &mut |error| {
            panic!("{error:?}")
        });
        Policy::new(&settings, &Defaults::LINUX)
    }

    #[test]
    fn what_is_written_is_read() {
        let policy =
            policy(b"10.0.0.0/8:3306 idle=300 user-timeout=auto; [2001:db8::]/32 off; :22-25 count=3; * off");
        let bytes = policy.to_bytes();
        assert_eq!(bytes.len(), SETTINGS_SIZE);
        assert_eq!(Policy::from_bytes(&bytes), Some(policy));
        assert_eq!(Policy::from_bytes(&bytes[..100]), None);
    }

    #[test]
    fn rules_in_words() {
        let shown: Vec<_> = policy(
            b"10.1.2.3/8:3306 idle=5m user-timeout=10; 192.0.2.1 off; [2001:db8::]/32:1-9 count=3; [::1] off; :22 off; * off",
        )
        .rules
        .iter()
        .map(Rule::to_string)
        .collect();
        let expected = [
            "10.0.0.0/8:3306 300/15/9, user timeout 10 s",
            "192.0.2.1 off",
            "[2001:db8::]/32:1-9 60/15/3",
            "[::1] off",
            ":22 off",
            "* off",
        ];
        assert_eq!(shown, expected);
    }
}
