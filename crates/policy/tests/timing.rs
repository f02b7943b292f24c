//! When the kernel gives up.

use std::num::NonZeroU16;

use kashim_policy::keepalive::{Defaults, Interval, UserTimeout, Values};
use kashim_policy::middleboxes::Verdict;
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

/// What is left to the kernel is the kernel's, and a user timeout is in seconds.
#[test]
fn of_values() {
    let kernel = Defaults::LINUX;
    assert_eq!(Timing::new(&Values::DEFAULT, &kernel), timing(60, 15, 9, None));
    let system =
        Values { idle: None, interval: Interval::System, count: None, user_timeout: UserTimeout::Seconds(7) };
    assert_eq!(Timing::new(&system, &kernel), timing(7200, 75, 9, Some(7)));
    let auto = Values { count: NonZeroU16::new(3), user_timeout: UserTimeout::Auto, ..Values::DEFAULT };
    assert_eq!(Timing::new(&auto, &kernel), timing(60, 15, 3, Some(105)));
}

#[test]
fn periods_and_verdicts() {
    assert_eq!(timing(60, 15, 9, None).period(), 60);
    assert_eq!(timing(2, 75, 9, None).period(), 75);
    assert_eq!(timing(60, 15, 9, None).outlives(240), Verdict::Yes);
    assert_eq!(timing(60, 15, 9, None).outlives(60), Verdict::No);
    // Nothing that cannot be set makes it fall over.
    let extreme = timing(u32::MAX, 0, 0, Some(0));
    assert_eq!((extreme.probes(), extreme.dead_after()), (1, u32::MAX));
    assert_eq!(timing(0, 0, 0, None).survives(1), Survives::Never);
}
