//! What a socket shows that nobody has set: the values of the network namespace that the calling thread is in.

use std::fs;
use std::io::{Error, ErrorKind, Result};

use kashim_policy::keepalive::{Defaults, Field};

/// Reads them from /proc/sys/net/ipv4. An error if they are not there.
pub fn read() -> Result<Defaults> {
    let mut defaults = Defaults::LINUX;
    for (field, name) in [
        (Field::Idle, "tcp_keepalive_time"),
        (Field::Interval, "tcp_keepalive_intvl"),
        (Field::Count, "tcp_keepalive_probes"),
    ] {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"))?;
        let value = text.trim().parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
        defaults.put(field, value);
    }
    Ok(defaults)
}

/// The same; where they cannot be read, Linux's own.
pub fn read_or_linux() -> Defaults {
    read().unwrap_or(Defaults::LINUX)
}
