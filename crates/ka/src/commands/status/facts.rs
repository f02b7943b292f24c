//! What is said about a connection, put together from all that is known of it; for the table and the JSON alike.

use super::rows::Row;
use super::values::Values;
use crate::tcp::sock_diag::{State, Timer};

/// What SO_KEEPALIVE is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// On.
    On,
    /// Off.
    Off,
    /// Hidden behind another timer.
    Busy,
    /// Not to be known without the socket's values.
    Unknown,
}

/// From the socket itself, else from the timer that runs.
pub fn keepalive(row: &Row) -> Keepalive {
    match (row.values.known(), row.sock.timer, row.sock.state) {
        (Some(options), ..) => {
            if options.on {
                Keepalive::On
            } else {
                Keepalive::Off
            }
        }
        (None, Timer::Keepalive { .. }, _) => Keepalive::On,
        // No timer runs on these, on or off.
        (None, Timer::Unknown { .. }, _) | (None, _, State::LISTEN) => Keepalive::Unknown,
        (None, Timer::Busy, _) => Keepalive::Busy,
        (None, Timer::None, _) => Keepalive::Off,
    }
}

/// Milliseconds until the next probe.
pub fn next_probe(row: &Row) -> Option<u32> {
    match row.sock.timer {
        Timer::Keepalive { next, .. } => Some(next),
        _ => None,
    }
}

/// How many probes went unanswered.
pub fn unanswered(row: &Row) -> Option<u8> {
    match row.sock.timer {
        Timer::Keepalive { unanswered, .. } | Timer::Unknown { unanswered } if !row.sock.listens() => {
            Some(unanswered)
        }
        _ => None,
    }
}

/// Why there are no values, a word and a sentence.
pub fn missing(values: &Values) -> Option<(&'static str, String)> {
    match values {
        Values::Known(_) | Values::Closed => None,
        Values::NotAsked => Some(("not-asked", "not asked for (--no-values)".to_owned())),
        Values::Refused(rule) => Some((rule.name(), rule.to_string())),
        Values::Hidden => Some((
            "hidden",
            "no process that you may look into has it; run ka as the user that it belongs to, or as root"
                .to_owned(),
        )),
        Values::Nobodys => Some(("no-process", "no process here has it (any more, or not yet)".to_owned())),
    }
}
