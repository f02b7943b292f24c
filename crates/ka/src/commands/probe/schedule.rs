//! Which silences are tried.

use std::time::Duration;

use super::diagnosis::{Diagnosis, End, WITNESSES};

/// The shortest silence: no box forgets that fast.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Closer together than this they would tell nothing: a connection's age is not known that well.
const STEP: Duration = Duration::from_millis(100);

/// The silences of the first round: [`SHORTEST`], and from `max` downwards so that each is half of the next, or closer
/// together where there are connections for that. `connections` is at least 2, and `max` above [`SHORTEST`].
pub fn first(max: Duration, connections: usize) -> Vec<Duration> {
    let halves = connections.saturating_sub(2);
    let lowest = max.as_secs_f64() / 2f64.powi(i32::try_from(halves).unwrap_or(i32::MAX));
    let shortest = SHORTEST.as_secs_f64();
    if lowest > 2.0 * shortest {
        let mut silences = vec![SHORTEST];
        silences.extend(geometric(lowest, max, connections - 1));
        silences
    } else {
        geometric(shortest, max, connections)
    }
}

/// So many, from `low` to `max`, each the same multiple of the one before.
fn geometric(low: f64, max: Duration, count: usize) -> Vec<Duration> {
    let steps = count.saturating_sub(1).max(1) as f64;
    let ratio = max.as_secs_f64() / low;
    let mut silences: Vec<_> =
        (0..count).map(|i| Duration::from_secs_f64(low * ratio.powf(i as f64 / steps))).collect();
    // Exactly, whatever the powers come to.
    if let Some(last) = silences.last_mut() {
        *last = max;
    }
    silences
}

/// How many rounds there are at most.
pub const ROUNDS: u32 = 8;

/// The silences of the next round, none if enough is known: as long as the limit lies between silences that are far
/// apart, those between them; then the limit itself, until it was seen often enough; and if what seemed to be a limit
/// was none, what was not tried yet.
pub fn next(diagnosis: &Diagnosis, max: Duration, connections: usize) -> Vec<Duration> {
    let alive = diagnosis.alive.unwrap_or_default();
    match diagnosis.end.limit() {
        Some(_) => {
            let gone = diagnosis.planned;
            let between = if diagnosis.is_wide() { between(alive, gone, connections) } else { Vec::new() };
            if between.is_empty() && !diagnosis.is_certain() {
                vec![gone; connections.min(WITNESSES + 1)]
            } else {
                between
            }
        }
        None if diagnosis.end == End::Unknown && diagnosis.unsteady => {
            let mut silences = geometric(alive.max(SHORTEST).as_secs_f64(), max, connections + 1);
            silences.remove(0);
            silences
        }
        None => Vec::new(),
    }
}

/// Silences evenly between `alive` and `gone`. The last is `gone` once more, if there are connections for that several
/// times: what was seen there must be seen again. None if there is nothing to tell between the two.
fn between(alive: Duration, gone: Duration, connections: usize) -> Vec<Duration> {
    let width = gone.saturating_sub(alive);
    let room = (width.as_secs_f64() / STEP.as_secs_f64()) as usize;
    let again = if connections > 2 * WITNESSES { WITNESSES - 1 } else { 0 };
    let count = (connections - again).min(room);
    if count < 2 {
        return Vec::new();
    }
    let even = (1..=count).map(|i| alive + width.mul_f64(i as f64 / count as f64));
    even.chain(std::iter::repeat_n(gone, again)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::connection::{Observation, Outcome};
    use super::*;

    fn seconds(silences: &[Duration]) -> Vec<f64> {
        silences.iter().map(|s| (s.as_secs_f64() * 100.0).round() / 100.0).collect()
    }

    #[test]
    fn the_first_round_halves() {
        let silences = first(Duration::from_secs(1200), 8);
        assert_eq!(seconds(&silences), [1.0, 18.75, 37.5, 75.0, 150.0, 300.0, 600.0, 1200.0]);
    }

    #[test]
    fn a_short_one_is_dense() {
        let silences = first(Duration::from_secs(16), 5);
        assert_eq!(seconds(&silences), [1.0, 2.0, 4.0, 8.0, 16.0]);
    }

    #[test]
    fn with_few_connections() {
        assert_eq!(seconds(&first(Duration::from_secs(600), 2)), [1.0, 600.0]);
        assert_eq!(seconds(&first(Duration::from_secs(600), 3)), [1.0, 300.0, 600.0]);
        assert_eq!(seconds(&first(Duration::from_secs(2), 2)), [1.0, 2.0]);
    }

    #[test]
    fn each_is_longer_than_the_one_before() {
        for max in [2, 3, 10, 60, 350, 7440, 32767] {
            for connections in 2..=64 {
                let silences = first(Duration::from_secs(max), connections);
                assert_eq!(silences.len(), connections);
                assert_eq!((silences[0], silences[connections - 1]), (SHORTEST, Duration::from_secs(max)));
                assert!(silences.is_sorted_by(|a, b| a < b), "{silences:?}");
            }
        }
    }

    #[test]
    fn the_next_round_ends_where_this_one_found_the_end() {
        let silences = between(Duration::from_secs(300), Duration::from_secs(600), 4);
        assert_eq!(seconds(&silences), [375.0, 450.0, 525.0, 600.0]);
        let silences = between(Duration::from_secs(300), Duration::from_secs(600), 8);
        assert_eq!(seconds(&silences), [350.0, 400.0, 450.0, 500.0, 550.0, 600.0, 600.0, 600.0]);
    }

    /// A path that forgets after so long a silence, and loses nothing: measured as `ka probe` does, without waiting.
    fn measured(limit: f64, max: u64, connections: usize) -> (Diagnosis, u32) {
        let max = Duration::from_secs(max);
        let (mut seen, mut silences, mut rounds) = (Vec::new(), first(max, connections), 0);
        while !silences.is_empty() && rounds < ROUNDS {
            rounds += 1;
            for planned in silences {
                let outcome = if planned.as_secs_f64() < limit { Outcome::Alive } else { Outcome::Dropped };
                let at_most = planned + Duration::from_millis(20);
                seen.push(Observation { planned, at_least: planned, at_most, outcome });
                // The longer ones are given up.
                if outcome == Outcome::Dropped && seen.iter().filter(|it| it.planned == planned).count() > 2 {
                    break;
                }
            }
            silences = next(&Diagnosis::new(&seen, max), max, connections);
        }
        (Diagnosis::new(&seen, max), rounds)
    }

    #[test]
    fn every_limit_is_found_in_time() {
        for (limit, max, connections) in [
            (9.0, 9 * 3600, 10),
            (9.0, 9 * 3600, 2),
            (350.0, 1200, 8),
            (350.0, 1200, 2),
            (3.0, 8, 8),
            (30_000.0, 32_767, 64),
        ] {
            let (found, rounds) = measured(limit, max, connections);
            let alive = found.alive.unwrap_or_default().as_secs_f64();
            let gone = found.end.limit().map_or(f64::NAN, |gone| gone.as_secs_f64());
            let case =
                format!("{limit} s, up to {max} s, {connections} connections: {found:?}, {rounds} rounds");
            assert!(alive < limit && limit <= gone, "{case}");
            if connections > 2 {
                assert!(found.is_certain() && !found.is_wide() && rounds <= 5, "{case}");
            }
        }
    }

    #[test]
    fn nothing_between_is_nothing_to_do() {
        assert!(between(Duration::from_secs(5), Duration::from_millis(5150), 8).is_empty());
        assert!(between(Duration::from_secs(5), Duration::from_secs(5), 8).is_empty());
    }
}
