//! Settings and outcomes in words, as they stand in the log.

use core::fmt::Write;
use core::num::NonZeroU16;

use crate::decide::{Errno, Outcome, Why, Written};
use crate::settings::Settings;
use crate::text::{number, strings};
use crate::values::{DEFAULT_INTERVAL, Interval, UserTimeout, Values};

/// `idle 60 s, interval 15 s, count 9, user timeout off, 2 rules, force`
pub fn settings(out: &mut dyn Write, settings: &Settings) {
    values(out, &settings.plain);
    if !settings.rules.is_empty() {
        strings(out, &[", "]);
        number(out, settings.rules.len() as u32);
        strings(out, &[if settings.rules.len() == 1 { " rule" } else { " rules" }]);
    }
    if settings.force {
        strings(out, &[", force"]);
    }
}

/// `idle 60 s, interval 15 s, count 9, user timeout off`
pub fn values(out: &mut dyn Write, values: &Values) {
    strings(out, &["idle "]);
    or_system(out, values.idle, " s");
    strings(out, &[", interval "]);
    match (values.interval, values.idle) {
        (Interval::System, _) => or_system(out, None, ""),
        (Interval::Seconds(n), _) => or_system(out, Some(n), " s"),
        (Interval::Unset, None) => strings(out, &["15 s or the kernel's idle"]),
        (Interval::Unset, Some(idle)) => {
            number(out, DEFAULT_INTERVAL.min(idle.get().into()));
            strings(out, &[" s"]);
        }
    }
    strings(out, &[", count "]);
    or_system(out, values.count, "");
    strings(out, &[", user timeout "]);
    match values.user_timeout {
        UserTimeout::Off => strings(out, &["off"]),
        UserTimeout::Auto => strings(out, &["auto"]),
        UserTimeout::Seconds(n) => {
            number(out, n);
            strings(out, &[" s"]);
        }
    }
}

fn or_system(out: &mut dyn Write, value: Option<NonZeroU16>, unit: &str) {
    match value {
        None => strings(out, &["system"]),
        Some(n) => {
            number(out, n.get().into());
            strings(out, &[unit]);
        }
    }
}

/// `set keepalive on, idle 60, interval 15, count 9` or `left alone: not TCP`
pub fn outcome(out: &mut dyn Write, outcome: &Outcome) {
    match outcome {
        Outcome::Written(written) => what_was_written(out, written),
        Outcome::LeftAlone(why) => {
            strings(out, &["left alone: ", why.text()]);
            if let Why::Refused(errno) = *why {
                in_parentheses(out, errno);
            }
        }
    }
}

fn what_was_written(out: &mut dyn Write, written: &Written) {
    strings(out, &["set"]);
    let fields = &written.fields;
    let mut before = " ";
    let on = written.keepalive.map(|on| if on { "keepalive on" } else { "keepalive off" });
    if let Some(on) = on {
        strings(out, &[before, on]);
        before = ", ";
    }
    for (name, value, unit) in [
        ("idle ", fields.idle, ""),
        ("interval ", fields.interval, ""),
        ("count ", fields.count, ""),
        ("user timeout ", written.user_timeout, " ms"),
    ] {
        if let Some(n) = value {
            strings(out, &[before, name]);
            number(out, n);
            strings(out, &[unit]);
            before = ", ";
        }
    }
    if let Some(errno) = written.refused {
        strings(out, &["; the rest was refused by the system"]);
        in_parentheses(out, errno);
    }
}

/// An errno, by its name if it is one that is to be expected here. The numbers are those of Linux on every
/// architecture that kashim is built for (asm-generic/errno-base.h and errno.h).
fn in_parentheses(out: &mut dyn Write, errno: Errno) {
    let name = match errno {
        1 => "EPERM",
        9 => "EBADF",
        13 => "EACCES",
        22 => "EINVAL",
        38 => "ENOSYS",
        92 => "ENOPROTOOPT",
        95 => "EOPNOTSUPP",
        105 => "ENOBUFS",
        _ => "",
    };
    strings(out, &[" (", name]);
    if name.is_empty() {
        strings(out, &["errno "]);
        number(out, errno.unsigned_abs());
    }
    strings(out, &[")"]);
}
