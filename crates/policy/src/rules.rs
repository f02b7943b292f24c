//! Settings for single destinations (`KA_RULES`).

use core::net::IpAddr;

use crate::ip;
use crate::keepalive::{Interval, UserTimeout, Values};
use crate::parse::{self, Accepted, ErrorKind};
use crate::setting_error::SettingError;
use crate::variables::{Global, Variable};

/// How many rules there may be.
pub const MAX_RULES: usize = 64;

/// The addresses that a rule is for. IPv4 addresses are numbers as they are in IPv6, mapped (RFC 4291 section
/// 2.5.5.2), but a rule for IPv6 is for none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Net {
    family: Family,
    /// The host bits are zero.
    network: [u64; 2],
    /// Ones for the bits of the prefix.
    mask: [u64; 2],
}

/// The addresses that a rule can be for at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Every address.
    #[default]
    Any,
    /// IPv4, also where it is mapped into IPv6.
    V4,
    /// IPv6 that is no mapped IPv4.
    V6,
}

/// What a rule is for, in numbers, for an engine that is not this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matches {
    /// Of these addresses,
    pub family: Family,
    /// those that are this number,
    pub network: u128,
    /// where this mask is one. IPv4 addresses count as mapped (RFC 4291 section 2.5.5.2).
    pub mask: u128,
    /// First and last port.
    pub ports: (u16, u16),
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
    /// These values; what the rule does not name is already filled in from the global settings.
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
        net: Net::ANY,
        ports: (0, 0),
        action: Action::Values(Values {
            idle: None,
            interval: Interval::System,
            count: None,
            user_timeout: UserTimeout::Off,
        }),
    };

    /// What it is for.
    pub fn matches(&self) -> Matches {
        let whole = |[high, low]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
        let Net { family, network, mask } = self.net;
        Matches { family, network: whole(network), mask: whole(mask), ports: self.ports }
    }
}

/// How many bits there are before the IPv4 address in a mapped one.
const MAPPED: u32 = 96;

/// An address as a number, and its family.
fn number(address: IpAddr) -> (Family, u128) {
    let number = match address {
        IpAddr::V4(a) => return (Family::V4, mapped(a.to_bits())),
        IpAddr::V6(a) => a.to_bits(),
    };
    (family(number), number)
}

fn mapped(v4: u32) -> u128 {
    0xffff << 32 | u128::from(v4)
}

fn family(number: u128) -> Family {
    if number >> 32 == 0xffff { Family::V4 } else { Family::V6 }
}

/// A `u128` would ask for an alignment of 16 and make each rule a third larger.
fn halves(n: u128) -> [u64; 2] {
    [(n >> 64) as u64, n as u64]
}

impl Net {
    /// Every address; all zeroes in memory.
    const ANY: Net = Net { family: Family::Any, network: [0; 2], mask: [0; 2] };

    /// The network of that many bits around an address. Host bits are dropped.
    fn new(address: u128, bits: u32) -> Net {
        let ones = |n: u32| if n == 0 { 0 } else { u64::MAX << (64 - n.min(64)) };
        let mask @ [mh, ml] = [ones(bits.min(64)), ones(bits.saturating_sub(64))];
        let [h, l] = halves(address);
        // A rule that is written for mapped addresses is one for the IPv4 addresses in them.
        let family = if bits < MAPPED { Family::V6 } else { family(address) };
        Net { family, network: [h & mh, l & ml], mask }
    }

    fn contains(&self, family: Family, [h, l]: [u64; 2]) -> bool {
        let [mh, ml] = self.mask;
        (self.family == Family::Any || self.family == family) && [h & mh, l & ml] == self.network
    }
}

/// The rules in the order in which they were given. Field order matters: where there are none, only the first page of the
/// settings is touched.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Rules {
    len: usize,
    all: [Rule; MAX_RULES],
}

impl Rules {
    /// No rules; all zeroes in memory.
    pub const NONE: Rules = Rules { all: [Rule::NONE; MAX_RULES], len: 0 };

    /// The rules.
    #[inline(never)]
    pub fn as_slice(&self) -> &[Rule] {
        self.all.get(..self.len).unwrap_or_default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first rule for this service.
    pub fn find(&self, service: &Service) -> Option<&Rule> {
        let (family, number) = number(service.peer);
        let halves = halves(number);
        self.as_slice().iter().find(|rule| {
            let (low, high) = rule.ports;
            (low..=high).contains(&service.port) && rule.net.contains(family, halves)
        })
    }

    /// Forgets all rules. (Assigning [`Rules::NONE`] would write to every byte of a static one.)
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a rule, if there is room.
    fn push(&mut self, rule: Rule) -> Result<(), ErrorKind> {
        *self.all.get_mut(self.len).ok_or(ErrorKind::TooManyRules)? = rule;
        self.len += 1;
        Ok(())
    }

    /// Reads rules separated by `;` or newlines. `global` fills in what a rule does not name. Each bad rule is handed
    /// to `complain`; the others hold. One rule too many ends the reading.
    pub fn read(&mut self, text: &[u8], global: &Values, complain: &mut dyn FnMut(&SettingError)) {
        for (n, value) in (1..).zip(split_rules(text)) {
            let added =
                rule(value, global).and_then(|rule| self.push(rule).map_err(|p| (p, Accepted::Rules)));
            if let Err((problem, accepted)) = added {
                let variable = Variable::Rules;
                complain(&SettingError {
                    variable,
                    rule: Some(n),
                    value,
                    problem,
                    accepted,
                    global: *global,
                });
                if problem == ErrorKind::TooManyRules {
                    return;
                }
            }
        }
    }
}

/// The rules in a value of `KA_RULES` as they were written, good ones and bad ones.
pub fn split_rules(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| matches!(b, b';' | b'\n')).map(parse::trim).filter(|rule| !rule.is_empty())
}

/// What is wrong and what would be accepted.
type Bad = (ErrorKind, Accepted);

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| matches!(b, b' ' | b'\t' | b'\r')).filter(|w| !w.is_empty())
}

/// One rule: what it is for, and what it does.
fn rule(text: &[u8], global: &Values) -> Result<Rule, Bad> {
    let mut words = words(text);
    let (net, ports) = destination(words.next().unwrap_or_default()).map_err(|p| (p, Accepted::Match))?;
    Ok(Rule { net, ports, action: action(words, global)? })
}

/// The part before the first such byte, and from it on.
#[inline(never)]
fn split_before(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let at = text.iter().position(|&b| b == byte).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, b""))
}

/// `*`, an address or a prefix, with or without ports, or ports alone.
fn destination(text: &[u8]) -> Result<(Net, (u16, u16)), ErrorKind> {
    if !split_before(text, b'%').1.is_empty() {
        return Err(ErrorKind::Scope);
    }
    let bracketed = text.strip_prefix(b"[");
    let (host, rest) = match bracketed {
        Some(inner) => match split_before(inner, b']') {
            (host, [_, rest @ ..]) => (host, rest),
            _ => return Err(ErrorKind::Brackets),
        },
        // With one colon, what follows it is the port; two make an IPv6 address.
        None if text.iter().filter(|&&b| b == b':').count() > 1 => return Err(ErrorKind::Brackets),
        None => {
            let (host, _) = split_before(text, b':');
            let (host, _) = split_before(host, b'/');
            (host, text.get(host.len()..).unwrap_or_default())
        }
    };
    let (bits, port) = split_before(rest, b':');
    let net = match (bracketed, host) {
        (Some(_), _) => Net::new(ip::v6(host).ok_or(ErrorKind::Brackets)?, prefix(bits, 128)?),
        (None, b"" | b"*") if bits.is_empty() => Net::ANY,
        (None, _) => {
            let address = mapped(ip::v4(host).ok_or(ErrorKind::HostName)?);
            Net::new(address, MAPPED + prefix(bits, 128 - MAPPED)?)
        }
    };
    Ok((net, ports(port)?))
}

/// `/BITS`, or nothing for all of them.
fn prefix(text: &[u8], all: u32) -> Result<u32, ErrorKind> {
    match text {
        [] => Ok(all),
        [b'/', bits @ ..] => parse::whole(bits).ok().filter(|&n| n <= all).ok_or(ErrorKind::Prefix),
        _ => Err(ErrorKind::Prefix),
    }
}

/// `:PORT`, `:LOW-HIGH`, or nothing for every port.
fn ports(text: &[u8]) -> Result<(u16, u16), ErrorKind> {
    let ports = match text {
        [] => return Ok((0, u16::MAX)),
        [_, ports @ ..] => ports,
    };
    let port = |text| match parse::whole(text) {
        Ok(n @ 1..=0xffff) => Ok(n as u16),
        _ => Err(ErrorKind::Port),
    };
    let (low, high) = split_before(ports, b'-');
    let low = port(low)?;
    let high = if let [_, high @ ..] = high { port(high)? } else { low };
    if low > high { Err(ErrorKind::Port) } else { Ok((low, high)) }
}

/// `off`, or settings, each once.
fn action<'a>(words: impl Iterator<Item = &'a [u8]>, global: &Values) -> Result<Action, Bad> {
    // What a rule does not name is the global value, also the interval that follows the idle time: it follows the
    // rule's idle time then, since only `resolve` works it out.
    let mut global = Global::of(*global);
    let mut named = [false; Variable::ALL.len()];
    let (mut off, mut count) = (false, 0);
    for word in words {
        count += 1;
        if word == b"off" {
            off = true;
            continue;
        }
        let sets = |variable: Variable| !variable.word().is_empty() && word.starts_with(variable.word());
        let known = Variable::ALL.iter().zip(&mut named).find(|(variable, _)| sets(**variable));
        let Some((&variable, named)) = known else {
            return Err((ErrorKind::UnknownField, Accepted::Actions));
        };
        if core::mem::replace(named, true) {
            return Err((ErrorKind::FieldTwice, Accepted::Actions));
        }
        let value = word.strip_prefix(variable.word()).unwrap_or_default();
        variable.read(&mut global, value).map_err(|problem| (problem, variable.accepted()))?;
    }
    match (off, count) {
        (_, 0) => Err((ErrorKind::NoSettings, Accepted::Actions)),
        (true, 1) => Ok(Action::Off),
        (true, _) => Err((ErrorKind::OffAndMore, Accepted::Actions)),
        (false, _) => Ok(Action::Values(global.values)),
    }
}
