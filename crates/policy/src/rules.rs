//! Settings for single destinations (`KA_RULES`).

use core::net::IpAddr;
use core::num::NonZeroU16;

use crate::ip;
use crate::settings::accepted;
use crate::value::{self, MAX_COUNT, MAX_SECONDS, Problem};
use crate::values::{Interval, UserTimeout, Values};

/// How many rules there may be.
pub const MAX_RULES: usize = 64;

/// The addresses that a rule is for. Two numbers match if they agree in the bits of the mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Net {
    /// Every address.
    #[default]
    Any,
    /// IPv4, and IPv4-mapped IPv6.
    V4 {
        /// The host bits are zero.
        network: u32,
        /// Ones for the bits of the prefix.
        mask: u32,
    },
    /// IPv6 but not IPv4-mapped.
    V6 {
        /// The host bits are zero.
        network: [u64; 2],
        /// Ones for the bits of the prefix.
        mask: [u64; 2],
    },
}

/// The service at the other end of a connection that we made, or at our end of one that we accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The peer's address, in both directions.
    pub peer: IpAddr,
    /// The peer's port if we connected, the local port if we accepted.
    pub port: u16,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keepalive off.
    Off,
    /// These values; what the rule does not name is already filled in from the plain settings.
    Values(Values),
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    net: Net,
    /// First and last.
    ports: (u16, u16),
    /// What it does.
    pub action: Action,
}

impl Rule {
    /// All zeroes in memory, so that a static array of them costs no file space.
    const NONE: Rule = Rule {
        net: Net::Any,
        ports: (0, 0),
        action: Action::Values(Values {
            idle: None,
            interval: Interval::System,
            count: None,
            user_timeout: UserTimeout::Off,
        }),
    };

    /// Whether it is for this service.
    pub fn matches(&self, service: &Service) -> bool {
        let (low, high) = self.ports;
        (low..=high).contains(&service.port) && self.net.contains(service.peer)
    }
}

impl Net {
    /// The network of that many bits around an address. Host bits are dropped.
    fn new(address: IpAddr, bits: u32) -> Net {
        match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
                Net::V4 { network: u32::from(a) & mask, mask }
            }
            // A rule that is written for mapped addresses is a rule for the IPv4 addresses in them.
            IpAddr::V6(a) => match (a.to_ipv4_mapped(), bits.checked_sub(96)) {
                (Some(mapped), Some(bits)) => Net::new(IpAddr::V4(mapped), bits),
                _ => {
                    let mask = halves(u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0));
                    let [h, l] = halves(u128::from(a));
                    let [mh, ml] = mask;
                    Net::V6 { network: [h & mh, l & ml], mask }
                }
            },
        }
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (*self, address.to_canonical()) {
            (Net::Any, _) => true,
            (Net::V4 { network, mask }, IpAddr::V4(a)) => u32::from(a) & mask == network,
            (Net::V6 { network, mask: [mh, ml] }, IpAddr::V6(a)) => {
                let [h, l] = halves(u128::from(a));
                [h & mh, l & ml] == network
            }
            _ => false,
        }
    }
}

/// A `u128` would ask for an alignment of 16 and make each rule a third larger.
fn halves(n: u128) -> [u64; 2] {
    [(n >> 64) as u64, n as u64]
}

/// The rules in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Rules {
    all: [Rule; MAX_RULES],
    len: usize,
}

impl Rules {
    /// No rules; all zeroes in memory.
    pub const NONE: Rules = Rules { all: [Rule::NONE; MAX_RULES], len: 0 };

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.all.iter().take(self.len)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first rule for this service.
    pub fn find(&self, service: &Service) -> Option<&Rule> {
        self.iter().find(|rule| rule.matches(service))
    }

    /// Forgets all rules. (Assigning [`Rules::NONE`] would write to every byte of a static one.)
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a rule, if there is room.
    fn push(&mut self, rule: Rule) -> Result<(), Problem> {
        *self.all.get_mut(self.len).ok_or(Problem::TooManyRules)? = rule;
        self.len += 1;
        Ok(())
    }

    /// Reads rules separated by `;` or newlines. `plain` fills in what a rule does not name. Each bad rule is handed
    /// to `bad` with its number, counted from 1, and what would be accepted; the others hold. One rule too many ends
    /// the reading.
    pub fn read<'a>(
        &mut self,
        text: &'a [u8],
        plain: &Values,
        mut bad: impl FnMut(u32, &'a [u8], Problem, &'static str),
    ) {
        let rules =
            text.split(|b| matches!(b, b';' | b'\n')).map(value::trim).filter(|rule| !rule.is_empty());
        for (n, text) in (1..).zip(rules) {
            let outcome = rule(text, plain)
                .and_then(|rule| self.push(rule).map_err(|problem| (problem, accepted::MAX_RULES)));
            if let Err((problem, accepted)) = outcome {
                bad(n, text, problem, accepted);
                if problem == Problem::TooManyRules {
                    return;
                }
            }
        }
    }
}

/// What is wrong and what would be accepted.
type Bad = (Problem, &'static str);

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| matches!(b, b' ' | b'\t' | b'\r')).filter(|w| !w.is_empty())
}

/// One rule: what it is for, and what it does.
fn rule(text: &[u8], plain: &Values) -> Result<Rule, Bad> {
    let mut words = words(text);
    let (net, ports) = destination(words.next().unwrap_or_default()).map_err(|p| (p, accepted::MATCH))?;
    Ok(Rule { net, ports, action: action(words, plain)? })
}

/// The part before the first such byte, and from it on.
fn split_before(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let at = text.iter().position(|&b| b == byte).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, b""))
}

/// `*`, an address or a prefix, with or without ports, or ports alone.
fn destination(text: &[u8]) -> Result<(Net, (u16, u16)), Problem> {
    if text.contains(&b'%') {
        return Err(Problem::Scope);
    }
    let (net, rest) = if let [b'[', inner @ ..] = text {
        let (address, rest) = split_before(inner, b']');
        let [b']', rest @ ..] = rest else { return Err(Problem::Brackets) };
        let (bits, rest) = split_before(rest, b':');
        (Net::new(ip::v6(address).ok_or(Problem::Brackets)?.into(), prefix(bits, 128)?), rest)
    } else {
        // With one colon, what follows it is the port; two make an IPv6 address.
        let (host, rest) = split_before(text, b':');
        if rest.iter().filter(|&&b| b == b':').count() > 1 {
            return Err(Problem::Brackets);
        }
        let (address, bits) = split_before(host, b'/');
        let net = match host {
            b"" | b"*" => Net::Any,
            _ => Net::new(ip::v4(address).ok_or(Problem::HostName)?.into(), prefix(bits, 32)?),
        };
        (net, rest)
    };
    Ok((net, ports(rest)?))
}

/// `/BITS`, or nothing for all of them.
fn prefix(text: &[u8], all: u32) -> Result<u32, Problem> {
    match text {
        [] => Ok(all),
        [b'/', bits @ ..] => value::whole(bits).ok().filter(|&n| n <= all).ok_or(Problem::Prefix),
        _ => Err(Problem::Prefix),
    }
}

/// `:PORT`, `:LOW-HIGH`, or nothing for every port.
fn ports(text: &[u8]) -> Result<(u16, u16), Problem> {
    let ports = match text {
        [] => return Ok((0, u16::MAX)),
        [_, ports @ ..] => ports,
    };
    let port = |text| match value::whole(text) {
        Ok(n @ 1..=0xffff) => Ok(n as u16),
        _ => Err(Problem::Port),
    };
    let (low, high) = split_before(ports, b'-');
    let low = port(low)?;
    let high = if let [_, high @ ..] = high { port(high)? } else { low };
    if low > high { Err(Problem::Port) } else { Ok((low, high)) }
}

/// `off`, or settings, each once.
fn action<'a>(words: impl Iterator<Item = &'a [u8]>, plain: &Values) -> Result<Action, Bad> {
    // What a rule does not name is the plain value, also the interval that follows the idle time: it follows the
    // rule's idle time then, since only `resolve` works it out.
    let mut values = *plain;
    let mut named = [false; 4];
    let (mut off, mut settings) = (false, 0);
    for word in words {
        settings += 1;
        let seconds = |v: &[u8]| field(v, value::duration(v, MAX_SECONDS), accepted::DURATION);
        let which = if word == b"off" {
            off = true;
            continue;
        } else if let Some(v) = word.strip_prefix(b"idle=") {
            values.idle = seconds(v)?;
            0
        } else if let Some(v) = word.strip_prefix(b"interval=") {
            values.interval = seconds(v)?.map_or(Interval::System, Interval::Seconds);
            1
        } else if let Some(v) = word.strip_prefix(b"count=") {
            values.count = field(v, value::count(v, MAX_COUNT), accepted::COUNT)?;
            2
        } else if let Some(v) = word.strip_prefix(b"user-timeout=") {
            values.user_timeout = user_timeout(v).map_err(|p| (p, accepted::USER_TIMEOUT))?;
            3
        } else {
            return Err((Problem::UnknownField, accepted::RULE_SETTINGS));
        };
        if let Some(twice) = named.get_mut(which) {
            if *twice {
                return Err((Problem::FieldTwice, accepted::RULE_SETTINGS));
            }
            *twice = true;
        }
    }
    match (off, settings) {
        (_, 0) => Err((Problem::NoSettings, accepted::RULE_SETTINGS)),
        (true, 1) => Ok(Action::Off),
        (true, _) => Err((Problem::OffAndMore, accepted::RULE_SETTINGS)),
        (false, _) => Ok(Action::Values(values)),
    }
}

fn field(
    text: &[u8],
    number: Result<u32, Problem>,
    accepted: &'static str,
) -> Result<Option<NonZeroU16>, Bad> {
    value_or_system(text, number).map_err(|p| (p, accepted))
}

/// The word `system`, or the number that the text was read as.
pub(crate) fn value_or_system(
    text: &[u8],
    number: Result<u32, Problem>,
) -> Result<Option<NonZeroU16>, Problem> {
    if text == b"system" { Ok(None) } else { number.map(|n| NonZeroU16::new(n as u16)) }
}

/// `off`, `auto` or a duration.
pub(crate) fn user_timeout(text: &[u8]) -> Result<UserTimeout, Problem> {
    match text {
        b"off" => Ok(UserTimeout::Off),
        b"auto" => Ok(UserTimeout::Auto),
        _ => value::duration(text, value::MAX_USER_TIMEOUT).map(UserTimeout::Seconds),
    }
}
