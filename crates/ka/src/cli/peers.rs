//! `--peer`: which connections are meant, in the language of `KA_RULES`.

use std::fmt;
use std::net::SocketAddr;

use kashim_policy::keepalive::Values;
use kashim_policy::rules::{Rules, Service};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// Peers by address and port.
#[derive(Clone)]
pub struct Peers(Box<Rules>);

impl Peers {
    /// Reads a match as it stands before a rule.
    pub fn new(text: &str) -> Result<Self, Error> {
        let bad = |problem: &str| {
            Error::usage(format!(
                "--peer \"{}\": {problem}; accepted: 10.0.0.0/8, [2001:db8::]/32, each with :PORT or :LOW-HIGH behind \
                 it, or PORT alone",
                escaped(text.as_bytes())
            ))
        };
        if text.trim().is_empty() || text.contains([';', '\n', ' ', '\t', '\r']) {
            return Err(bad("one match without blanks is wanted"));
        }
        // A number is a port: an address has dots or colons.
        let is_port = text.bytes().all(|b| b.is_ascii_digit());
        let text = if is_port { format!(":{text}") } else { text.to_owned() };
        let mut rules = Box::new(Rules::NONE);
        let mut problem = None;
        // There is one parser of these; any action will do.
        rules.read(format!("{text} off").as_bytes(), &Values::DEFAULT, &mut |complaint| {
            problem = Some(String::from_utf8_lossy(complaint.problem.text()).into_owned());
        });
        problem.map_or(Ok(Self(rules)), |problem| Err(bad(&problem)))
    }

    /// Whether a connection to this peer is meant.
    pub fn contains(&self, peer: SocketAddr) -> bool {
        self.0.find(&Service { peer: peer.ip(), port: peer.port() }).is_some()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

#[cfg(test)]
mod tests {
    use super::Peers;

    #[test]
    fn by_address_and_port() {
        let contains = |text: &str, peer: &str| Peers::new(text).unwrap().contains(peer.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.1.2.3:5"));
        for port in [":3306", "3306"] {
            assert!(contains(port, "10.1.2.3:3306") && contains(port, "[::1]:3306"));
            assert!(!contains(port, "10.1.2.3:3307"));
        }
        assert!(contains("[::1]:1-9", "[::1]:9"));
        assert!(!contains("10.0.0.0/8:3306", "10.1.2.3:5"));
        assert!(!contains("[::1]", "127.0.0.1:9"));
    }

    #[test]
    fn nonsense_is_named() {
        for text in
            ["", "10.0.0.0/33", "db.example.com", "::1", ":22 off; *", "10.0.0.1 idle=5", "65536", "0"]
        {
            let error = Peers::new(text).unwrap_err().to_string();
            assert!(error.starts_with("--peer "), "{error}");
        }
    }
}
