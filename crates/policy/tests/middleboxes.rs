//! The table of middleboxes, and what is said of a connection.

use std::collections::HashSet;

use kashim_policy::middleboxes::Verdict::{No, Risky, Yes};
use kashim_policy::middleboxes::{ABOUT_STRICT, MIDDLEBOXES, STRICT, Verdict, by_name, verdict};

#[test]
fn each_preset_keeps_its_promise() {
    for preset in MIDDLEBOXES {
        let (idle, interval) = (preset.idle, preset.interval);
        assert!(idle.max(interval) + 2 * interval <= preset.timeout / 2, "{preset:?}");
        assert_eq!(verdict(idle, interval, preset.timeout), Verdict::Yes, "{preset:?}");
        assert!(interval <= idle && (1..=127).contains(&preset.count), "{preset:?}");
        // A connection outlives an outage of two minutes, but for the one where that is not to be had.
        assert_eq!(idle + interval * preset.count >= 120, preset.name != "strict", "{preset:?}");
        assert!(!preset.what.is_empty() && preset.name.bytes().all(|b| b.is_ascii_lowercase()), "{preset:?}");
    }
}

#[test]
fn no_name_twice() {
    let names: HashSet<_> = MIDDLEBOXES.iter().map(|preset| preset.name).collect();
    assert_eq!(names.len(), MIDDLEBOXES.len());
    for name in ["azure", "aws", "gcp", "ipvs", "swarm", "alibaba", "firewall", "strict"] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn names_are_found() {
    for preset in MIDDLEBOXES {
        assert_eq!(by_name(preset.name.as_bytes()), Some(&preset));
    }
    for name in ["", "AZURE", "azur", "azure ", "azure 240"] {
        assert_eq!(by_name(name.as_bytes()), None);
    }
}

/// What is said of it is so.
#[test]
fn about_strict() {
    let strict = by_name(STRICT.as_bytes()).unwrap();
    let end = strict.idle + strict.interval * strict.count;
    assert!(ABOUT_STRICT.starts_with(STRICT) && ABOUT_STRICT.contains(&format!("after {end} s ")));
}

#[test]
fn verdicts() {
    assert_eq!([Yes, Risky, No].map(Verdict::word), ["yes", "risky", "no"]);
    for (idle, interval, timeout, want) in [
        (60, 15, 240, Yes),
        (60, 15, 91, Yes),
        (60, 15, 90, Risky),
        (60, 15, 61, Risky),
        (60, 15, 60, No),
        // The period is the interval where that is longer.
        (2, 75, 6, No),
        (2, 75, 76, Risky),
        (2, 75, 225, Risky),
        (2, 75, 226, Yes),
        (7200, 75, 350, No),
        (1, 1, 0, No),
        (u32::MAX, u32::MAX, u32::MAX, No),
        (1, u32::MAX - 1, u32::MAX, Risky),
    ] {
        assert_eq!(verdict(idle, interval, timeout), want, "{idle}/{interval} and {timeout}");
    }
}

/// The values that are used where nobody asks for any stay below every box with a name but the strictest.
#[test]
fn the_defaults_are_safe() {
    for preset in MIDDLEBOXES {
        assert_eq!(verdict(60, 15, preset.timeout) == Verdict::Yes, preset.name != "strict", "{preset:?}");
    }
}
