//! What to set, when it is known how much silence a path bears.

use kashim_policy::keepalive::{DEFAULT_INTERVAL, Field, Values};
use kashim_policy::middleboxes::{MIDDLEBOXES, Middlebox, Verdict, verdict};

use std::time::Duration;

/// What to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The largest `KA_IDLE` in seconds, with the interval that belongs to it by default, that has room for two lost
    /// probes within half of the silence; a round number.
    pub idle: u32,
    /// That interval.
    pub interval: u32,
    /// How sure it is, for paths that forget faster than two probes a second apart can be lost.
    pub verdict: Verdict,
    /// Whether the default settings do as well.
    pub default_does: bool,
    /// The named settings with the least traffic that do as well.
    pub preset: Option<&'static Middlebox>,
}

/// Whether these values leave room for two lost probes within half of the silence.
fn fits(idle: u32, interval: u32, silence: u32) -> bool {
    2 * (u64::from(idle.max(interval)) + 2 * u64::from(interval)) <= silence.into()
}

/// For a path on which a connection has outlived this silence. None if that is less than a second: nothing helps then.
pub fn for_silence(silence: Duration) -> Option<Advice> {
    let silence = u32::try_from(silence.as_secs()).unwrap_or(u32::MAX);
    if silence == 0 {
        return None;
    }
    let half = silence / 2;
    // The interval is DEFAULT_INTERVAL, or the idle time where that is less.
    let largest = half.saturating_sub(2 * DEFAULT_INTERVAL);
    let largest = if largest >= DEFAULT_INTERVAL { largest } else { half / 3 };
    let idle = round(largest.clamp(1, kashim_policy::parse::MAX_SECONDS));
    let interval = DEFAULT_INTERVAL.min(idle);
    let default = Values::DEFAULT.resolve(&kashim_policy::keepalive::Defaults::LINUX);
    let of = |field| default.of(field).map_or(0, |value| value.get());
    Some(Advice {
        idle,
        interval,
        verdict: verdict(idle, interval, silence),
        default_does: fits(of(Field::Idle), of(Field::Interval), silence),
        preset: MIDDLEBOXES
            .iter()
            .filter(|preset| fits(preset.idle, preset.interval, silence))
            .reduce(|best, preset| if preset.idle > best.idle { preset } else { best }),
    })
}

/// Down to a number that one can remember.
fn round(seconds: u32) -> u32 {
    let unit = match seconds {
        0..20 => 1,
        20..60 => 5,
        60..600 => 10,
        _ => 60,
    };
    seconds - seconds % unit
}

/// The middleboxes that are known to forget a connection between these two silences.
pub fn suspects(alive: Duration, gone: Duration) -> impl Iterator<Item = &'static Middlebox> {
    MIDDLEBOXES.iter().filter(move |preset| {
        let timeout = Duration::from_secs(preset.timeout.into());
        alive < timeout && timeout <= gone
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(seconds: u64) -> Option<u32> {
        for_silence(Duration::from_secs(seconds)).map(|advice| advice.idle)
    }

    #[test]
    fn round_numbers_below_half() {
        assert_eq!(idle(350), Some(140));
        assert_eq!(idle(240), Some(90));
        assert_eq!(idle(120), Some(30));
        assert_eq!(idle(60), Some(10));
        assert_eq!(idle(6), Some(1));
        assert_eq!(idle(1200), Some(570));
        assert_eq!(idle(0), None);
    }

    #[test]
    fn what_is_advised_always_fits() {
        for silence in 6..40_000 {
            let advice = for_silence(Duration::from_secs(silence)).expect("something to advise");
            assert!(fits(advice.idle, advice.interval, silence as u32), "{silence}: {advice:?}");
            assert_eq!(advice.verdict, Verdict::Yes);
        }
    }

    #[test]
    fn short_silences_are_not_praised() {
        let verdicts: Vec<_> =
            (1..6).filter_map(|s| for_silence(Duration::from_secs(s))).map(|advice| advice.verdict).collect();
        assert_eq!(verdicts, [Verdict::No, Verdict::Risky, Verdict::Risky, Verdict::Yes, Verdict::Yes]);
    }

    #[test]
    fn the_preset_that_fits() {
        let name = |seconds| for_silence(Duration::from_secs(seconds)).and_then(|a| a.preset).map(|p| p.name);
        assert_eq!(name(350), Some("aws"));
        assert_eq!(name(300), Some("azure"));
        assert_eq!(name(900), Some("ipvs"));
        assert_eq!(name(60), Some("strict"));
        assert_eq!(name(59), None);
    }

    #[test]
    fn the_default_does_from_three_minutes_on() {
        assert!(for_silence(Duration::from_secs(180)).is_some_and(|advice| advice.default_does));
        assert!(for_silence(Duration::from_secs(179)).is_some_and(|advice| !advice.default_does));
    }

    #[test]
    fn suspects_are_between() {
        let names = |a, b| {
            suspects(Duration::from_secs(a), Duration::from_secs(b)).map(|p| p.name).collect::<Vec<_>>()
        };
        assert_eq!(names(340, 360), ["aws"]);
        assert_eq!(names(350, 360), Vec::<&str>::new());
        assert_eq!(names(800, 901), ["ipvs", "swarm", "alibaba"]);
    }
}
