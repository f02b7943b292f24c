//! What is done to one socket.

use std::os::fd::AsFd;
use std::time::Duration;

use kashim_policy::keepalive::{Defaults, Field, UserTimeout};
use kashim_policy::parse::MAX_USER_TIMEOUT;
use rustix::io::{Errno, Result};
use rustix::net::sockopt;

use crate::tcp::options::Options;

/// A number to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The value of the socket's network namespace.
    System,
    /// This.
    Number(u32),
}

/// What is to be different; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// SO_KEEPALIVE.
    pub on: Option<bool>,
    /// TCP_KEEPIDLE, seconds.
    pub idle: Option<Wanted>,
    /// TCP_KEEPINTVL, seconds.
    pub interval: Option<Wanted>,
    /// TCP_KEEPCNT.
    pub count: Option<Wanted>,
    /// TCP_USER_TIMEOUT.
    pub user_timeout: Option<UserTimeout>,
}

impl Change {
    /// Whether the namespace's values have to be known.
    pub fn needs_kernel_defaults(&self) -> bool {
        [self.idle, self.interval, self.count].contains(&Some(Wanted::System))
    }

    /// What a socket is to become.
    pub fn apply(&self, before: Options, kernel: &Defaults) -> Options {
        let number = |wanted: Option<Wanted>, before, field| match wanted {
            None => before,
            Some(Wanted::Number(n)) => n,
            Some(Wanted::System) => kernel.of(field),
        };
        let idle = number(self.idle, before.idle, Field::Idle);
        let interval = number(self.interval, before.interval, Field::Interval);
        let count = number(self.count, before.count, Field::Count);
        let seconds = match self.user_timeout {
            None => None,
            Some(UserTimeout::Off) => Some(0),
            Some(UserTimeout::Seconds(n)) => Some(n),
            Some(UserTimeout::Auto) => Some(idle.saturating_add(interval.saturating_mul(count))),
        };
        let user_timeout = seconds.map_or(before.user_timeout, |n| n.min(MAX_USER_TIMEOUT) * 1000);
        Options { on: self.on.unwrap_or(before.on), idle, interval, count, user_timeout }
    }
}

/// An option that the system refused to set, and its error.
pub type Refusal = (&'static str, Errno);

/// Sets what is different, and returns what was refused: MPTCP has no user timeout.
pub fn set(socket: impl AsFd, before: Options, wanted: Options) -> Vec<Refusal> {
    let socket = socket.as_fd();
    let seconds = |n: u32| Duration::from_secs(n.into());
    let mut refused = Vec::new();
    let mut note = |name, differs: bool, set: &dyn Fn() -> Result<()>| {
        if differs {
            refused.extend(set().err().map(|error| (name, error)));
        }
    };
    note("idle", wanted.idle != before.idle, &|| sockopt::set_tcp_keepidle(socket, seconds(wanted.idle)));
    note("interval", wanted.interval != before.interval, &|| {
        sockopt::set_tcp_keepintvl(socket, seconds(wanted.interval))
    });
    note("count", wanted.count != before.count, &|| sockopt::set_tcp_keepcnt(socket, wanted.count));
    // After the values, so that the timer starts with them.
    note("keepalive", wanted.on != before.on, &|| sockopt::set_socket_keepalive(socket, wanted.on));
    note("user timeout", wanted.user_timeout != before.user_timeout, &|| {
        sockopt::set_tcp_user_timeout(socket, wanted.user_timeout)
    });
    refused
}

#[cfg(test)]
mod tests {
    use super::{Change, Wanted};
    use crate::tcp::options::Options;
    use kashim_policy::keepalive::{Defaults, UserTimeout};

    const BEFORE: Options = Options { on: false, idle: 600, interval: 60, count: 4, user_timeout: 5000 };

    fn applied(change: Change) -> String {
        change.apply(BEFORE, &Defaults::LINUX).to_string()
    }

    #[test]
    fn only_what_is_named_changes() {
        let number = |n| Some(Wanted::Number(n));
        let none = Change::default();
        assert_eq!(applied(none), "off 600/60/4, user timeout 5 s");
        let idle = Change { on: Some(true), idle: number(30), ..none };
        assert_eq!(applied(idle), "on 30/60/4, user timeout 5 s");
        let system = Change { interval: Some(Wanted::System), count: number(9), ..none };
        assert_eq!(applied(system), "off 600/75/9, user timeout 5 s");
        let off = Change { user_timeout: Some(UserTimeout::Off), ..none };
        assert_eq!(applied(off), "off 600/60/4");
        let auto = Change { idle: number(30), user_timeout: Some(UserTimeout::Auto), ..none };
        assert_eq!(applied(auto), "off 30/60/4, user timeout 270 s");
    }
}
