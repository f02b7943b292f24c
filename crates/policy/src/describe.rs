//! Settings and outcomes in words, as they stand in the log.

use core::num::NonZeroU32;

use crate::decide::{Errno, Outcome, Why, Written};
use crate::line::Line;
use crate::settings::Settings;
use crate::values::{Defaults, Field, Interval, UserTimeout, Values};

/// `idle 60 s, interval 15 s, count 9, user timeout off, 2 rules, force`
pub fn settings(out: &mut Line, settings: &Settings) {
    values(out, &settings.plain);
    if !settings.rules.is_empty() {
        out.text(", ");
        out.number(settings.rules.as_slice().len() as u32);
        out.text(if settings.rules.as_slice().len() == 1 { " rule" } else { " rules" });
    }
    if settings.force {
        out.text(", force");
    }
}

/// `idle 60 s, interval 15 s, count 9, user timeout off`
pub fn values(out: &mut Line, values: &Values) {
    let target = values.resolve(&Defaults::LINUX);
    let number = |field| target.of(field).map(NonZeroU32::get);
    named(out, "idle ", number(Field::Idle), " s");
    match (values.interval, values.idle) {
        (Interval::Unset, None) => out.text(", interval 15 s or the kernel's idle"),
        _ => named(out, ", interval ", number(Field::Interval), " s"),
    }
    named(out, ", count ", number(Field::Count), "");
    match values.user_timeout {
        UserTimeout::Off => out.text(", user timeout off"),
        UserTimeout::Auto => out.text(", user timeout auto"),
        UserTimeout::Seconds(n) => named(out, ", user timeout ", Some(n), " s"),
    }
}

/// A number with its name and unit, or the word `system`.
#[inline(never)]
fn named(out: &mut Line, name: &str, value: Option<u32>, unit: &str) {
    out.text(name);
    match value {
        None => out.text("system"),
        Some(n) => {
            out.number(n);
            out.text(unit);
        }
    }
}

/// `set keepalive on, idle 60, interval 15, count 9` or `left alone: not TCP`
pub fn outcome(out: &mut Line, outcome: &Outcome) {
    match outcome {
        Outcome::Written(written) => what_was_written(out, written),
        Outcome::LeftAlone(why) => {
            out.text("left alone: ");
            out.text(why.text());
            if let Why::Refused(errno) = *why {
                in_parentheses(out, errno);
            }
        }
    }
}

fn what_was_written(out: &mut Line, written: &Written) {
    out.text("set");
    match written.keepalive {
        Some(true) => out.text(" keepalive on,"),
        Some(false) => out.text(" keepalive off,"),
        None => {}
    }
    item(out, " idle ", written.fields.of(Field::Idle), ",");
    item(out, " interval ", written.fields.of(Field::Interval), ",");
    item(out, " count ", written.fields.of(Field::Count), ",");
    item(out, " user timeout ", written.fields.of(Field::UserTimeout), " ms,");
    out.drop_last();
    if let Some(errno) = written.refused {
        out.text("; the rest was refused by the system");
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
    out.text(" (errno ");
    out.number(errno.unsigned_abs());
    out.text(")");
}
