//! Whether a connection outlives a middlebox.

use kashim_policy::middleboxes::{self, Verdict};

use crate::tcp::options::Options;
use crate::tcp::sock_diag::Timer;
use crate::tcp::state::State;

/// The answer for one connection, and what it follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlives {
    /// Two probes in a row may get lost; one comes every so many seconds.
    Yes(u32),
    /// A probe comes in time, but there is no room for two lost ones.
    Risky(u32),
    /// A probe comes only every so many seconds.
    TooSlow(u32),
    /// The next probe is so many seconds away.
    TooLate(u32),
    /// Nothing is ever probed.
    Off,
    /// Data is on its way, which hides whether keepalive is on, and its values cannot be read.
    Busy,
    /// The values cannot be read.
    NoValues,
}

/// The answer in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Yes,
    /// It does, unless a probe gets lost.
    Risky,
    /// It does not.
    No,
    /// It cannot be told.
    CannotTell,
}

impl Answer {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Risky => "risky",
            Self::No => "no",
            Self::CannotTell => "cannot tell",
        }
    }
}

impl Outlives {
    /// In short.
    pub fn answer(self) -> Answer {
        match self {
            Self::Yes(_) => Answer::Yes,
            Self::Risky(_) => Answer::Risky,
            Self::TooSlow(_) | Self::TooLate(_) | Self::Off => Answer::No,
            Self::Busy | Self::NoValues => Answer::CannotTell,
        }
    }

    /// Why.
    pub fn why(self) -> String {
        match self {
            Self::Yes(period) | Self::Risky(period) | Self::TooSlow(period) => {
                format!("a probe every {period} s")
            }
            Self::TooLate(next) => format!("the next probe only in {next} s"),
            Self::Off => "keepalive is off".to_owned(),
            Self::Busy => "busy, and the values cannot be read".to_owned(),
            Self::NoValues => "the values cannot be read".to_owned(),
        }
    }
}

/// Whether a connection outlives a box that forgets it after `timeout` seconds of silence. `None` for what is no
/// connection: a listener, or one that is still being made or already ended on both sides.
pub fn outlives(state: State, timer: Timer, options: Option<&Options>, timeout: u32) -> Option<Outlives> {
    if !matches!(state, State::ESTABLISHED | State::CLOSE_WAIT | State::FIN_WAIT_2) {
        return None;
    }
    Some(match (options, timer) {
        (Some(Options { on: false, .. }), _) | (None, Timer::None) => Outlives::Off,
        (Some(&Options { idle, interval, .. }), _) => {
            let period = idle.max(interval);
            match middleboxes::verdict(idle, interval, timeout) {
                Verdict::Yes => Outlives::Yes(period),
                Verdict::Risky => Outlives::Risky(period),
                Verdict::No => Outlives::TooSlow(period),
            }
        }
        // The one that is not there yet is enough to know.
        (None, Timer::Keepalive { next, .. }) if next / 1000 >= timeout => Outlives::TooLate(next / 1000),
        (None, Timer::Busy) => Outlives::Busy,
        (None, Timer::Keepalive { .. } | Timer::Unknown { .. }) => Outlives::NoValues,
    })
}

#[cfg(test)]
mod tests {
    use super::{Outlives, outlives};
    use crate::tcp::options::Options;
    use crate::tcp::sock_diag::Timer;
    use crate::tcp::state::State;

    fn on(idle: u32, interval: u32) -> Option<Options> {
        Some(Options { on: true, idle, interval, count: 9, user_timeout: 0 })
    }

    const PROBES: Timer = Timer::Keepalive { next: 59_000, unanswered: 0 };

    #[test]
    fn by_its_values() {
        for (options, want) in [
            (on(120, 20), Outlives::Yes(120)),
            (on(300, 30), Outlives::Risky(300)),
            (on(350, 15), Outlives::TooSlow(350)),
            (on(10, 400), Outlives::TooSlow(400)),
            (Some(Options { on: false, ..on(60, 15).unwrap() }), Outlives::Off),
        ] {
            for timer in [PROBES, Timer::Busy, Timer::None] {
                assert_eq!(outlives(State::ESTABLISHED, timer, options.as_ref(), 350), Some(want));
            }
        }
    }

    #[test]
    fn by_its_timer_alone() {
        let late = Timer::Keepalive { next: 350_000, unanswered: 0 };
        for (timer, want) in [
            (Timer::None, Outlives::Off),
            (Timer::Busy, Outlives::Busy),
            (PROBES, Outlives::NoValues),
            (late, Outlives::TooLate(350)),
            (Timer::Unknown { unanswered: 0 }, Outlives::NoValues),
        ] {
            assert_eq!(outlives(State::ESTABLISHED, timer, None, 350), Some(want));
        }
    }

    #[test]
    fn only_connections() {
        for state in [State::LISTEN, State::SYN_SENT] {
            assert_eq!(outlives(state, Timer::None, None, 350), None);
        }
        assert_eq!(outlives(State::CLOSE_WAIT, Timer::None, None, 350), Some(Outlives::Off));
    }
}
