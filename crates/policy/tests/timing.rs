//! When the kernel gives up.

use kashim_policy::timing::{Survives, Timing};

fn timing(idle: u32, interval: u32, count: u32, user_timeout: Option<u32>) -> Timing {
    Timing { idle, interval, count, user_timeout }
}

#[test]
fn the_end_without_a_user_timeout() {
    assert_eq!(timing(60, 15, 9, None).dead_after(), 195);
    assert_eq!(timing(300, 30, 5, None).dead_after(), 450);
}

/// As measured: 2/1/3 ends after 5 s, and with a user timeout of 10 s after 10 s.
#[test]
fn the_end_as_measured() {
    assert_eq!(timing(2, 1, 3, None).dead_after(), 5);
    assert_eq!(timing(2, 1, 3, Some(10)).dead_after(), 10);
    // It is looked at when a probe is out, and not before.
    assert_eq!(timing(60, 15, 9, Some(5)).dead_after(), 75);
    assert_eq!(timing(60, 15, 9, Some(61)).dead_after(), 75);
    assert_eq!(timing(60, 15, 9, Some(76)).dead_after(), 90);
}

#[test]
fn outages() {
    let two_minutes = |t: Timing| t.survives(120);
    assert_eq!(two_minutes(timing(60, 15, 9, None)), Survives::Always);
    assert_eq!(two_minutes(timing(60, 15, 8, None)), Survives::Sometimes);
    assert_eq!(two_minutes(timing(20, 5, 9, None)), Survives::Never);
    assert_eq!(two_minutes(timing(300, 1, 1, None)), Survives::Sometimes);
    assert_eq!(two_minutes(timing(60, 15, 9, Some(60))), Survives::Never);
    assert_eq!(two_minutes(timing(60, 15, 1, Some(600))), Survives::Always);
}
