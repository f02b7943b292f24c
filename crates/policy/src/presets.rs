//! Middleboxes that forget idle connections, and what to set against them.

/// A middlebox by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
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

const fn preset(name: &'static str, what: &'static str, timeout: u32, values: [u32; 3]) -> Preset {
    let [idle, interval, count] = values;
    Preset { name, what, timeout, idle, interval, count }
}

/// Every middlebox that has a name. A probe with room for two lost ones comes within half of each timeout.
pub const PRESETS: [Preset; 8] = [
    preset("azure", "Azure Load Balancer, NAT gateway", 240, [90, 15, 9]),
    preset("aws", "AWS NLB, NAT gateway, PrivateLink", 350, [120, 20, 9]),
    preset("gcp", "Google Cloud VPC firewall, load balancer", 600, [240, 30, 9]),
    preset("ipvs", "kube-proxy in IPVS mode", 900, [300, 30, 9]),
    preset("swarm", "Docker Swarm virtual IP", 900, [300, 30, 9]),
    preset("alibaba", "Alibaba Cloud NAT", 900, [300, 30, 9]),
    preset("firewall", "Cisco ASA, Palo Alto, FortiGate", 3600, [900, 60, 9]),
    preset("strict", "carrier NAT, small boxes", 60, [20, 5, 9]),
];
