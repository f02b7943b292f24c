//! Hosts and ports on the command line.

use std::net::{SocketAddr, ToSocketAddrs};

use kashim_policy::parse::{self, ErrorKind};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// A host, by name or address, and a port if one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    /// 1 to 65535.
    pub port: Option<u16>,
}

impl HostPort {
    /// Reads `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]` or `[ADDRESS]:PORT`.
    pub fn read(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| {
            let shown = escaped(text.as_bytes());
            Error::usage(format!(
                "\"{shown}\": {what}; accepted: a name or an address, with :PORT behind it; [2001:db8::1]:PORT for IPv6"
            ))
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(inner) => match inner.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, rest)) => {
                    (host, Some(rest.strip_prefix(':').ok_or_else(|| bad("no port behind ]"))?))
                }
                None => return Err(bad("[ without ]")),
            },
            // Two colons make an IPv6 address.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(bad("no host"));
        }
        let port = port.map(|port| parse::count(port.as_bytes(), u16::MAX.into())).transpose().map_err(
            |problem: ErrorKind| bad(&format!("port {}", String::from_utf8_lossy(problem.text()))),
        )?;
        Ok(Self { host: host.to_owned(), port: port.and_then(|port| u16::try_from(port).ok()) })
    }

    /// Its addresses, each once, as the system resolves them.
    pub fn resolve(&self, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let host = escaped(self.host.as_bytes());
        name_service::prepare();
        let found = (self.host.as_str(), port).to_socket_addrs().map_err(|error| {
            Error::new(format!("{host}: no address found{}: {error}; give its address", name_service::ASKED))
        })?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(Error::new(format!("{host}: has no address"))) } else { Ok(addresses) }
    }
}

/// Who is asked for the address of a name.
///
/// glibc looks names up with modules that /etc/nsswitch.conf names and that it loads at run time. A static program would
/// load those of the system's C library, which is another one than its own, and may crash. `files` and `dns` are part of
/// glibc itself (since 2.34), so a static `ka` asks these alone.
mod name_service {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    pub const ASKED: &str = " in /etc/hosts and DNS (ka is statically linked and asks nothing else)";
    #[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
    pub const ASKED: &str = "";

    /// To be called before a name is looked up.
    pub fn prepare() {
        #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
        {
            use std::ffi::{c_char, c_int};

            unsafe extern "C" {
                fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
            }
            // SAFETY: both are C strings, which glibc copies. It fails only for a database that it does not know, and
            // for want of memory.
            unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("db", "db", None),
            ("db:5432", "db", Some(5432)),
            ("10.0.0.1:1", "10.0.0.1", Some(1)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:22", "::1", Some(22)),
        ] {
            let target = HostPort::read(text).expect(text);
            assert_eq!((target.host.as_str(), target.port), (host, port));
        }
    }

    #[test]
    fn what_is_neither() {
        for text in ["", ":22", "db:", "db:0", "db:65536", "db:x", "[::1", "[::1]22", "[]:22", "db:+1"] {
            assert!(HostPort::read(text).is_err(), "{text}");
        }
    }
}
