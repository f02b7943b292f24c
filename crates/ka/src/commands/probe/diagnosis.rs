//! What the observations come to.

use std::time::Duration;

use super::connection::{Observation, Outcome};

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The longest silence that a connection has outlived. A limit is above that, whatever a shorter one met with.
    pub alive: Option<Duration>,
    /// How it ends.
    pub end: End,
    /// A connection was at its end though another one has outlived more: packets were lost, or not all connections take
    /// the same path.
    pub unsteady: bool,
    /// How long the first connection that met with that end was to be silent.
    pub planned: Duration,
    /// How many connections of those that were silent for so long have met with it. A single one may have lost its packets.
    pub seen: usize,
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
    /// A RST came by itself, also to a connection on which keepalive was not silent: it is the server's.
    ResetByServer(Duration),
    /// A FIN came by itself.
    Closed(Duration),
    /// No connection had its probes answered when it was new.
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

/// How many connections have to meet with the same end before it is believed. Where every fifth packet is lost, one
/// loses its first probe in a fifth of all cases, and all of these one in a hundred thousand times at most.
pub const WITNESSES: usize = 3;

/// Silences that are that close are the same: what lies between planning one and its end.
fn is_close(a: Duration, b: Duration) -> bool {
    a.abs_diff(b) <= Duration::from_millis(500).max(a.mul_f64(0.05))
}

impl Diagnosis {
    /// From all that was seen, where `max` was the longest silence.
    pub fn new(observations: &[Observation], max: Duration) -> Self {
        let of = |outcome| observations.iter().filter(move |seen| seen.outcome == outcome);
        let alive = of(Outcome::Alive).map(|seen| seen.at_least).max();
        let outlived = of(Outcome::Alive).map(|seen| seen.planned).max();
        // What was outlived cannot be a limit.
        let refuted = |seen: &Observation| match seen.outcome {
            Outcome::Dropped | Outcome::Reset => {
                alive.is_some_and(|alive| alive >= seen.at_least) || outlived >= Some(seen.planned)
            }
            // Nobody asked: a limit of the server ends all of them at about the same time.
            _ => observations
                .iter()
                .any(|other| other.at_least > seen.at_most && !is_close(other.at_least, seen.at_most)),
        };
        let ends = || observations.iter().filter(|seen| seen.outcome.is_end());
        let answered = observations.iter().any(|seen| seen.outcome != Outcome::NoProbes);
        let unsteady = ends().any(refuted) || (answered && of(Outcome::NoProbes).next().is_some());
        let believed = || ends().filter(|seen| !refuted(seen));
        let Some(first) = believed().min_by_key(|seen| seen.at_most) else {
            let end = match of(Outcome::NeverSilent).map(|seen| seen.at_least).max() {
                Some(longest) => End::NeverSilent(longest),
                None if outlived >= Some(max) => End::Never,
                None if !answered && !observations.is_empty() => End::NoProbes,
                None => End::Unknown,
            };
            return Self { alive, end, unsteady, planned: max, seen: 0 };
        };
        let gone = first.at_most;
        let (alive, end) = match first.outcome {
            // It was the other end, or the path, that knew the connection until then.
            Outcome::Closed => (Some(first.at_least), End::Closed(gone)),
            Outcome::ResetInSilence => (Some(first.at_least), End::ResetInSilence(gone)),
            Outcome::Reset => (alive, End::Reset(gone)),
            _ => (alive, End::Dropped(gone)),
        };
        let seen = believed().filter(|seen| seen.planned <= first.planned).count();
        Self { alive, end, unsteady, planned: first.planned, seen }
    }

    /// Whether the limit was seen often enough.
    pub fn is_certain(&self) -> bool {
        self.end.limit().is_none() || self.seen >= WITNESSES
    }

    /// Whether the limit lies between silences that are far apart: by more than a tenth, and more than can be told.
    pub fn is_wide(&self) -> bool {
        let width = self.end.limit().map(|gone| (gone, gone.saturating_sub(self.alive.unwrap_or_default())));
        width.is_some_and(|(gone, width)| width > gone.mul_f64(0.1).max(Duration::from_millis(300)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn observations(outcomes: &[(f64, Outcome)]) -> Vec<Observation> {
        let one = |&(silence, outcome): &(f64, Outcome)| Observation {
            planned: seconds(silence),
            at_least: seconds(silence),
            at_most: seconds(silence + 0.1),
            outcome,
        };
        outcomes.iter().map(one).collect()
    }

    fn seen(outcomes: &[(f64, Outcome)]) -> Diagnosis {
        Diagnosis::new(&observations(outcomes), MAX)
    }

    use Outcome::{Alive, Closed, Dropped, NeverSilent, NoProbes, Reset, ResetInSilence};

    #[test]
    fn a_limit_is_between_two_silences() {
        let found = seen(&[(1.0, Alive), (5.0, Alive), (20.0, Dropped), (10.0, Dropped)]);
        let want = Diagnosis {
            alive: Some(seconds(5.0)),
            end: End::Dropped(seconds(10.1)),
            unsteady: false,
            planned: seconds(10.0),
            seen: 1,
        };
        assert_eq!(found, want);
        assert_eq!(seen(&[(1.0, Alive), (5.0, Reset)]).end, End::Reset(seconds(5.1)));
    }

    #[test]
    fn a_success_at_a_longer_silence_refutes_a_failure_at_a_shorter_one() {
        let found = seen(&[(1.0, Alive), (20.0, Alive), (10.0, Dropped), (30.0, Dropped)]);
        let want = Diagnosis {
            alive: Some(seconds(20.0)),
            end: End::Dropped(seconds(30.1)),
            unsteady: true,
            planned: seconds(30.0),
            seen: 1,
        };
        assert_eq!(found, want);
        // The longest one: there is no limit up to it.
        let found = seen(&[(1.0, Alive), (60.0, Dropped), (30.0, Alive), (60.0, Alive)]);
        assert_eq!((found.end, found.unsteady), (End::Never, true));
        // Not to the longest: more has to be tried.
        assert_eq!(seen(&[(1.0, Alive), (10.0, Dropped), (10.0, Alive)]).end, End::Unknown);
    }

    /// Whatever is lost: of the connections that the box still knows some may fail, of the others none is alive.
    #[test]
    fn the_limit_is_never_below_what_was_outlived() {
        let limit = 17.0;
        for lost in 0u32..1 << 8 {
            let outcomes: Vec<_> = (0..8)
                .map(|i| {
                    let silence = 4.0 * f64::from(i + 1);
                    let answers = silence < limit && lost & 1 << i == 0;
                    (silence, if answers { Alive } else { Dropped })
                })
                .collect();
            let found = seen(&outcomes);
            assert!(found.alive.is_none_or(|alive| alive < seconds(limit)), "{outcomes:?}");
            let gone = found.end.limit().expect("some silence is too long");
            // Only what was lost just below the limit can be taken for it, and that by one witness alone.
            if gone < seconds(limit) {
                assert!(!found.is_certain() && lost & 1 << 3 != 0, "{outcomes:?}");
            }
        }
    }

    #[test]
    fn one_witness_is_none() {
        assert!(!seen(&[(1.0, Alive), (10.0, Dropped)]).is_certain());
        assert!(!seen(&[(1.0, Alive), (10.0, Dropped), (10.0, Dropped), (20.0, Dropped)]).is_certain());
        // Two that were silent for longer, behind one whose packets were lost, say nothing about that one.
        assert!(!seen(&[(1.0, Alive), (10.0, Dropped), (10.2, Dropped), (10.3, Dropped)]).is_certain());
        assert!(seen(&[(1.0, Alive), (10.0, Dropped), (10.0, Dropped), (10.0, Dropped)]).is_certain());
        assert!(seen(&[(1.0, Alive), (60.0, Alive)]).is_certain());
    }

    #[test]
    fn a_wide_bracket() {
        assert!(seen(&[(1.0, Alive), (13.6, Dropped)]).is_wide());
        assert!(!seen(&[(9.0, Alive), (9.5, Dropped)]).is_wide());
        assert!(!seen(&[(1.0, Alive), (1.1, Dropped)]).is_wide());
    }

    #[test]
    fn a_fin_is_the_servers_and_the_path_was_alive() {
        let found = seen(&[(1.0, Alive), (8.0, Closed), (8.2, Closed)]);
        assert_eq!((found.alive, found.end), (Some(seconds(8.0)), End::Closed(seconds(8.1))));
    }

    #[test]
    fn one_early_end_of_many_says_nothing() {
        for early in [Closed, ResetInSilence] {
            let found = seen(&[(1.0, Alive), (2.0, early), (30.0, Alive), (60.0, Alive)]);
            assert_eq!((found.end, found.unsteady), (End::Never, true), "{early:?}");
            let found = seen(&[(1.0, Alive), (2.0, early), (20.0, Alive), (30.0, Dropped)]);
            assert_eq!(
                (found.alive, found.end),
                (Some(seconds(20.0)), End::Dropped(seconds(30.1))),
                "{early:?}"
            );
        }
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
        assert_eq!(seen(&[(1.0, NoProbes), (30.0, NoProbes)]).end, End::NoProbes);
        assert_eq!(seen(&[(1.0, Dropped)]).end, End::Dropped(seconds(1.1)));
        // On one of several they were lost.
        let found = seen(&[(1.0, NoProbes), (30.0, Alive), (60.0, Alive)]);
        assert_eq!((found.end, found.unsteady), (End::Never, true));
    }

    #[test]
    fn a_server_that_does_not_keep_silent() {
        assert_eq!(seen(&[(1.0, Alive), (9.0, NeverSilent)]).end, End::NeverSilent(seconds(9.0)));
    }
}
