//! Which silences are tried.

use std::time::Duration;

/// The shortest silence. It also shows whether the path lets probes through at all: no box forgets that fast.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Closer together than this they would tell nothing: a connection's age is not known that well.
const STEP: Duration = Duration::from_millis(100);

/// The silences of the first pass: [`SHORTEST`], and from `max` downwards so that each is half of the next, or closer
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

/// The silences of the second pass, evenly between `alive` and `gone`. The last is `gone` once more: what was seen
/// there must be seen again. None if there is nothing to tell between the two.
pub fn between(alive: Duration, gone: Duration, connections: usize) -> Vec<Duration> {
    let width = gone.saturating_sub(alive);
    let room = (width.as_secs_f64() / STEP.as_secs_f64()) as usize;
    let count = connections.min(room);
    if count < 2 {
        return Vec::new();
    }
    (1..=count).map(|i| alive + width.mul_f64(i as f64 / count as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(silences: &[Duration]) -> Vec<f64> {
        silences.iter().map(|s| (s.as_secs_f64() * 100.0).round() / 100.0).collect()
    }

    #[test]
    fn the_first_pass_halves() {
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
    fn the_second_pass_ends_where_the_first_found_the_end() {
        let silences = between(Duration::from_secs(300), Duration::from_secs(600), 4);
        assert_eq!(seconds(&silences), [375.0, 450.0, 525.0, 600.0]);
    }

    #[test]
    fn nothing_between_is_nothing_to_do() {
        assert!(between(Duration::from_secs(5), Duration::from_millis(5150), 8).is_empty());
        assert!(between(Duration::from_secs(5), Duration::from_secs(5), 8).is_empty());
    }
}
