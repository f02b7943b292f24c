//! Settings that are accepted and dangerous all the same.

use core::num::NonZeroU32;

use crate::keepalive::{Defaults, Field, Values};
use crate::line::Line;
use crate::rules::Action;
use crate::settings::Settings;

/// A dangerous combination of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
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

impl Warning {
    /// In words, for one line.
    pub fn write(&self, out: &mut Line) {
        match *self {
            Warning::SingleProbe => out.push_str("count 1: one lost probe ends a healthy connection"),
            Warning::IntervalAboveIdle { idle, interval, kernel } => {
                out.push_str("interval ");
                out.number(interval);
                out.push_str(if kernel { " (the kernel's)" } else { "" });
                out.push_str(" above idle ");
                out.number(idle);
                out.push_str(": a healthy silent connection is probed only every ");
                out.number(interval);
                out.push_str(" s");
            }
        }
    }
}

/// Whether one lost probe ends the connection.
fn single_probe(values: &Values) -> Option<Warning> {
    values.count.is_some_and(|n| n.get() == 1).then_some(Warning::SingleProbe)
}

/// Whether the interval is above the idle time.
fn interval_above_idle(values: &Values) -> Option<Warning> {
    let target = values.resolve(&Defaults::LINUX);
    let idle = target.of(Field::Idle)?.get();
    let own = target.of(Field::Interval);
    let interval = own.map_or(Defaults::LINUX.of(Field::Interval), NonZeroU32::get);
    (interval > idle).then_some(Warning::IntervalAboveIdle { idle, interval, kernel: own.is_none() })
}

/// The warnings of one set of values.
pub fn of(values: &Values) -> [Option<Warning>; 2] {
    [single_probe(values), interval_above_idle(values)]
}

/// Hands every warning of the settings to `tell`, with the number of the rule if it is in one.
pub fn each(settings: &Settings, tell: &mut dyn FnMut(Option<u32>, Warning)) {
    let global = of(&settings.global);
    global.iter().flatten().for_each(|h| tell(None, *h));
    for (n, rule) in (1..).zip(settings.rules.as_slice().iter()) {
        if let Action::Values(values) = &rule.action {
            // What a rule only takes over from the global settings was named there.
            let warnings = of(values);
            let own = warnings.iter().zip(&global).filter(|(h, p)| h != p);
            own.filter_map(|(h, _)| *h).for_each(|h| tell(Some(n), h));
        }
    }
}
