//! Middleboxes that forget idle connections, and what to set against them.

/// A middlebox by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Middlebox {
    /// As given to `--for`.
    pub name: &'static str,
    /// What it stands for.
    pub what: &'static str,
    /// The box forgets a connection that was silent for so many seconds.
    pub timeout: u32,
    /// TCP_KEEPIDLE in seconds.
    pub idle: u32,
    /// TCP_KEEPINTVL in seconds.
    pub interval: u32,
    /// TCP_KEEPCNT.
    pub count: u32,
}

/// Whether a connection outlives a middlebox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Two probes in a row may get lost.
    Yes,
    /// A probe comes in time, but there is no room for two lost ones.
    Risky,
    /// The box forgets the connection before a probe is sent.
    No,
}

impl Verdict {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Yes => "yes",
            Verdict::Risky => "risky",
            Verdict::No => "no",
        }
    }
}

/// Whether a silent connection with these values (seconds) outlives a box with that idle timeout. Linux probes a
/// healthy silent connection every max(idle, interval) seconds (tcp_keepalive_timer in net/ipv4/tcp_timer.c).
pub fn verdict(idle: u32, interval: u32, timeout: u32) -> Verdict {
    let period = idle.max(interval);
    if period >= timeout {
        Verdict::No
    } else if period.saturating_add(interval.saturating_mul(2)) >= timeout {
        Verdict::Risky
    } else {
        Verdict::Yes
    }
}

/// The name of the one that forgets so soon that nothing outlives both it and a long outage.
pub const STRICT: &str = "strict";

/// What to know before that one is chosen.
pub const ABOUT_STRICT: &str =
    "strict does not sit out a two-minute outage: after 65 s without an answer the connection is given up";

/// The middlebox of this name, as given to `--for`.
pub fn by_name(name: &[u8]) -> Option<&'static Middlebox> {
    MIDDLEBOXES.iter().find(|middlebox| middlebox.name.as_bytes() == name)
}

const fn middlebox(name: &'static str, what: &'static str, timeout: u32, values: [u32; 3]) -> Middlebox {
    let [idle, interval, count] = values;
    Middlebox { name, what, timeout, idle, interval, count }
}

/// Every middlebox that has a name. A probe with room for two lost ones comes within half of each timeout.
pub const MIDDLEBOXES: [Middlebox; 8] = [
    middlebox("azure", "Azure Load Balancer, NAT gateway", 240, [90, 15, 9]),
    middlebox("aws", "AWS NLB, NAT gateway, PrivateLink", 350, [120, 20, 9]),
    middlebox("gcp", "Google Cloud VPC firewall, load balancer", 600, [240, 30, 9]),
    middlebox("ipvs", "kube-proxy in IPVS mode", 900, [300, 30, 9]),
    middlebox("swarm", "Docker Swarm virtual IP", 900, [300, 30, 9]),
    middlebox("alibaba", "Alibaba Cloud NAT", 900, [300, 30, 9]),
    middlebox("firewall", "Cisco ASA, Palo Alto, FortiGate", 3600, [900, 60, 9]),
    middlebox("strict", "carrier NAT, small boxes", 60, [20, 5, 9]),
];
