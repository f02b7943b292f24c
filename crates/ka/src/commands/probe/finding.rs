//! What the observations come to.

use std::time::Duration;

use super::connection::{Observation, Outcome};
use super::ladder::SHORTEST;

/// What is known in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The longest silence that a connection has outlived, below the shortest that one has not.
    pub alive: Option<Duration>,
    /// How it ends.
    pub end: End,
    /// A connection has outlived a longer silence than another one.
    pub unsteady: bool,
}

/// How a silence ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The path forgets a connection that was silent for so long, and then drops its packets.
    Dropped(Duration),
    /// The path forgets it, and then answers RST.
    Reset(Duration),
    /// A RST came by itself.
    ResetInSilence(Duration),
    /// A FIN came by itself.
    Closed(Duration),
    /// Probes were not answered on a connection that was hardly silent at all.
    NoProbes,
    /// The other end did not keep silent for longer than that.
    NeverSilent(Duration),
    /// Nothing did, up to the longest silence.
    Never,
    /// The longest silence was not reached.
    Unknown,
}

impl End {
    /// Whether there is a limit between two silences, and so something to narrow down: the silence that is too long.
    pub fn limit(self) -> Option<Duration> {
        match self {
            End::Dropped(gone) | End::Reset(gone) => Some(gone),
            _ => None,
        }
    }
}

impl Finding {
    /// From all that was seen, where `max` was the longest silence.
    pub fn new(observations: &[Observation], max: Duration) -> Self {
        let alive = || observations.iter().filter(|seen| seen.outcome == Outcome::Alive);
        let longest_below =
            |end: Duration| alive().map(|seen| seen.at_least).filter(|&silence| silence < end).max();
        let first_end =
            observations.iter().filter(|seen| seen.outcome.is_end()).min_by_key(|seen| seen.at_most);
        let Some(first) = first_end else {
            let kept_talking = observations.iter().filter(|seen| seen.outcome == Outcome::NeverSilent);
            let end = match kept_talking.map(|seen| seen.at_least).max() {
                Some(longest) => End::NeverSilent(longest),
                None if alive().any(|seen| seen.planned >= max) => End::Never,
                None => End::Unknown,
            };
            return Self { alive: alive().map(|seen| seen.at_least).max(), end, unsteady: false };
        };
        let gone = first.at_most;
        let below = longest_below(gone);
        let (known_alive, end) = match first.outcome {
            // It was the other end, or the path, that knew the connection until then.
            Outcome::Closed => (Some(first.at_least), End::Closed(gone)),
            Outcome::ResetInSilence => (Some(first.at_least), End::ResetInSilence(gone)),
            Outcome::Reset => (below, End::Reset(gone)),
            _ if below.is_none() && first.planned <= SHORTEST => (None, End::NoProbes),
            _ => (below, End::Dropped(gone)),
        };
        let unsteady = alive().any(|seen| seen.at_least >= gone);
        Self { alive: known_alive, end, unsteady }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn seen(outcomes: &[(f64, Outcome)]) -> Finding {
        let observations: Vec<_> = outcomes
            .iter()
            .map(|&(silence, outcome)| Observation {
                planned: seconds(silence),
                at_least: seconds(silence),
                at_most: seconds(silence + 0.1),
                outcome,
            })
            .collect();
        Finding::new(&observations, MAX)
    }

    use Outcome::{Alive, Closed, Dropped, NeverSilent, Reset, ResetInSilence};

    #[test]
    fn a_limit_is_between_two_silences() {
        let found = seen(&[(1.0, Alive), (5.0, Alive), (20.0, Dropped), (10.0, Dropped)]);
        let want = Finding { alive: Some(seconds(5.0)), end: End::Dropped(seconds(10.1)), unsteady: false };
        assert_eq!(found, want);
        assert_eq!(seen(&[(1.0, Alive), (5.0, Reset)]).end, End::Reset(seconds(5.1)));
    }

    #[test]
    fn the_shortest_end_counts_and_contradictions_are_told() {
        let found = seen(&[(1.0, Alive), (20.0, Alive), (10.0, Dropped)]);
        let want = Finding { alive: Some(seconds(1.0)), end: End::Dropped(seconds(10.1)), unsteady: true };
        assert_eq!(found, want);
    }

    #[test]
    fn a_fin_is_the_servers_and_the_path_was_alive() {
        let found = seen(&[(1.0, Alive), (8.0, Closed), (8.2, Closed)]);
        let want = Finding { alive: Some(seconds(8.0)), end: End::Closed(seconds(8.1)), unsteady: false };
        assert_eq!(found, want);
    }

    #[test]
    fn a_reset_that_nobody_asked_for() {
        assert_eq!(seen(&[(1.0, Alive), (8.0, ResetInSilence)]).end, End::ResetInSilence(seconds(8.1)));
    }

    #[test]
    fn no_limit_only_if_the_longest_was_tried() {
        assert_eq!(seen(&[(1.0, Alive), (60.0, Alive)]).end, End::Never);
        assert_eq!(seen(&[(1.0, Alive), (30.0, Alive)]).end, End::Unknown);
        assert_eq!(seen(&[]).end, End::Unknown);
    }

    #[test]
    fn a_path_that_lets_no_probe_through() {
        assert_eq!(seen(&[(1.0, Dropped)]).end, End::NoProbes);
        assert_eq!(seen(&[(2.0, Dropped)]).end, End::Dropped(seconds(2.1)));
    }

    #[test]
    fn a_server_that_does_not_keep_silent() {
        assert_eq!(seen(&[(1.0, Alive), (9.0, NeverSilent)]).end, End::NeverSilent(seconds(9.0)));
    }
}
