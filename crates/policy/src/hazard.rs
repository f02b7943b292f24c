//! Settings that are accepted and dangerous all the same.

use core::fmt::Write;

use crate::rules::Action;
use crate::settings::Settings;
use crate::text::{number, strings};
use crate::values::{Defaults, Values};

/// A dangerous combination of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hazard {
    /// One lost probe ends the connection (RFC 9293 section 3.8.4 warns of it).
    SingleProbe,
    /// The interval is longer than the idle time, so it is the interval that a middlebox sees.
    IntervalAboveIdle {
        /// Seconds.
        idle: u32,
        /// Seconds.
        interval: u32,
        /// The interval is the kernel's, which may have been changed by a sysctl.
        kernel: bool,
    },
}

impl Hazard {
    /// In words, for one line.
    pub fn write(&self, out: &mut dyn Write) {
        match *self {
            Hazard::SingleProbe => strings(out, &["count 1: one lost probe ends a healthy connection"]),
            Hazard::IntervalAboveIdle { idle, interval, kernel } => {
                strings(out, &["interval "]);
                number(out, interval);
                strings(out, &[if kernel { " (the kernel's)" } else { "" }, " above idle "]);
                number(out, idle);
                strings(out, &[": a healthy silent connection is probed only every "]);
                number(out, interval);
                strings(out, &[" s"]);
            }
        }
    }
}

/// The hazards of one set of values.
pub fn of(values: &Values) -> impl Iterator<Item = Hazard> {
    let target = values.resolve(&Defaults::LINUX);
    let interval = target.fields.interval.unwrap_or(Defaults::LINUX.interval);
    let kernel = target.fields.interval.is_none();
    let single = (target.fields.count == Some(1)).then_some(Hazard::SingleProbe);
    let above = target.fields.idle.filter(|&idle| interval > idle);
    let above = above.map(|idle| Hazard::IntervalAboveIdle { idle, interval, kernel });
    single.into_iter().chain(above)
}

/// Hands every hazard of the settings to `tell`, with the number of the rule if it is in one.
pub fn each(settings: &Settings, mut tell: impl FnMut(Option<u32>, Hazard)) {
    of(&settings.plain).for_each(|h| tell(None, h));
    for (n, rule) in (1..).zip(settings.rules.iter()) {
        if let Action::Values(values) = &rule.action {
            // What a rule only takes over from the plain settings was named there.
            of(values).filter(|h| of(&settings.plain).all(|p| p != *h)).for_each(|h| tell(Some(n), h));
        }
    }
}
