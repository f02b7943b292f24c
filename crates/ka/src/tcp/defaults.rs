//! The values of the network namespace that we are in.

use std::fs;

use kashim_policy::keepalive::{Defaults, Field};

/// What a socket has that nobody has set.
pub fn read() -> Defaults {
    let mut defaults = Defaults::LINUX;
    for (field, name) in [
        (Field::Idle, "tcp_keepalive_time"),
        (Field::Interval, "tcp_keepalive_intvl"),
        (Field::Count, "tcp_keepalive_probes"),
    ] {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        if let Ok(value @ 1..) = text.trim().parse() {
            defaults.put(field, value);
        }
    }
    defaults
}
