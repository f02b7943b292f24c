//! Settings and outcomes in words, as they stand in the log.

use core::num::NonZeroU32;

use crate::keepalive::{Defaults, Field, Interval, UserTimeout, Values};
use crate::line::Line;
use crate::outcome::{Outcome, SkipReason, Written};
use crate::settings::Settings;
use crate::socket::Errno;

/// `idle 60 s, interval 15 s, count 9, user timeout off, 2 rules, force`
pub fn settings(out: &mut Line, settings: &Settings) {
    values(out, &settings.global);
    if !settings.rules.is_empty() {
        out.push_str(", ");
        out.number(settings.rules.as_slice().len() as u32);
        out.push_str(if settings.rules.as_slice().len() == 1 { " rule" } else { " rules" });
    }
    if settings.force {
        out.push_str(", force");
    }
}

/// `idle 60 s, interval 15 s, count 9, user timeout off`
pub fn values(out: &mut Line, values: &Values) {
    let target = values.resolve(&Defaults::LINUX);
    let number = |field| target.of(field).map(NonZeroU32::get);
    named(out, "idle ", number(Field::Idle), " s");
    match (values.interval, values.idle) {
        (Interval::Unset, None) => out.push_str(", interval 15 s or the kernel's idle"),
        _ => named(out, ", interval ", number(Field::Interval), " s"),
    }
    named(out, ", count ", number(Field::Count), "");
    match values.user_timeout {
        UserTimeout::Off => out.push_str(", user timeout off"),
        UserTimeout::Auto => out.push_str(", user timeout auto"),
        UserTimeout::Seconds(n) => named(out, ", user timeout ", Some(n), " s"),
    }
}

/// A number with its name and unit, or the word `system`.
#[inline(never)]
fn named(out: &mut Line, name: &str, value: Option<u32>, unit: &str) {
    out.push_str(name);
    match value {
        None => out.push_str("system"),
        Some(n) => {
            out.number(n);
            out.push_str(unit);
        }
    }
}

/// `set keepalive on, idle 60, interval 15, count 9` or `left alone: not TCP`
pub fn outcome(out: &mut Line, outcome: &Outcome) {
    match outcome {
        Outcome::Written(written) => what_was_written(out, written),
        Outcome::Skipped(why) => {
            out.push_str("left alone: ");
            out.push_str(why.text());
            if let SkipReason::Refused(errno) = *why {
                in_parentheses(out, errno);
            }
        }
    }
}

fn what_was_written(out: &mut Line, written: &Written) {
    out.push_str("set");
    match written.keepalive {
        Some(true) => out.push_str(" keepalive on,"),
        Some(false) => out.push_str(" keepalive off,"),
        None => {}
    }
    item(out, " idle ", written.fields.of(Field::Idle), ",");
    item(out, " interval ", written.fields.of(Field::Interval), ",");
    item(out, " count ", written.fields.of(Field::Count), ",");
    item(out, " user timeout ", written.fields.of(Field::UserTimeout), " ms,");
    out.drop_last();
    if let Some(errno) = written.refused {
        out.push_str("; the rest was refused by the system");
        in_parentheses(out, errno);
    }
}

#[inline(never)]
fn item(out: &mut Line, name: &str, value: Option<u32>, unit: &str) {
    if value.is_some() {
        named(out, name, value, unit);
    }
}

fn in_parentheses(out: &mut Line, errno: Errno) {
    out.push_str(" (errno ");
    out.number(errno.unsigned_abs());
    out.push_str(")");
}
