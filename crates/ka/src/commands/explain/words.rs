//! Values in words.

use std::fmt::Write;

use kashim_policy::describe;
use kashim_policy::keepalive::{Defaults, Values};
use kashim_policy::middleboxes::{MIDDLEBOXES, Verdict};
use kashim_policy::timing::{Survives, Timing};
use kashim_policy::warning::{self, Warning};

use super::traffic::{PROBE_IPV4, PROBE_IPV6, per_hour};
use crate::output::line::line;

/// Two minutes, in seconds: what the defaults are made for.
const OUTAGE: u32 = 120;

/// All that there is to say about these values.
pub fn explain(values: &Values, kernel: &Defaults) -> String {
    let timing = Timing::new(values, kernel);
    let mut out = line(|line| describe::values(line, values));
    out.push('\n');
    if values.idle.is_none()
        || values.interval == kashim_policy::keepalive::Interval::System
        || values.count.is_none()
    {
        let Timing { idle, interval, count, .. } = timing;
        let _ = writeln!(out, "with what the kernel has here: {idle}/{interval}/{count}");
    }
    out.push('\n');
    let connect = timing.user_timeout.map(|timeout| ("connect", connect(timeout)));
    let lines = [("probes", probes(&timing)), ("dead", dead(&timing)), ("outage", outage(&timing))];
    for (name, words) in lines.into_iter().chain(connect).chain([("traffic", traffic(&timing))]) {
        let _ = writeln!(out, "  {name:<10}{words}");
    }
    out.push_str("\n  outlives  forgets after\n");
    for preset in &MIDDLEBOXES {
        let answer = timing.outlives(preset.timeout).word();
        let _ = writeln!(out, "  {answer:<8}  {:>5} s  {:<10}{}", preset.timeout, preset.name, preset.what);
    }
    let warnings = warnings(values, &timing);
    if !warnings.is_empty() {
        out.push('\n');
    }
    for words in warnings {
        let _ = writeln!(out, "  warning   {words}");
    }
    out
}

/// The same, in one line.
pub fn in_short(values: &Values, kernel: &Defaults) -> String {
    let timing = Timing::new(values, kernel);
    let outlived: Vec<_> = MIDDLEBOXES
        .iter()
        .filter(|preset| timing.outlives(preset.timeout) == Verdict::Yes)
        .map(|preset| preset.name)
        .collect();
    let outlived =
        if outlived.is_empty() { "nothing that has a name".to_owned() } else { outlived.join(", ") };
    format!(
        "{}: probed every {} s, dead after {} s, outlives {outlived}",
        line(|line| describe::values(line, values)),
        timing.period(),
        timing.dead_after()
    )
}

fn probes(timing: &Timing) -> String {
    let (idle, period) = (timing.idle, timing.period());
    if period == idle {
        format!("the first after {idle} s of silence; while they are answered, one every {idle} s")
    } else {
        format!(
            "the first after {idle} s of silence; while they are answered, one every {period} s: the interval is longer"
        )
    }
}

fn dead(timing: &Timing) -> String {
    let Timing { idle, interval, .. } = timing;
    let (probes, after) = (timing.probes(), timing.dead_after());
    let why = match timing.user_timeout {
        None => format!("{idle} + {probes} * {interval}"),
        Some(timeout) => format!(
            "with the first probe at or after the user timeout of {timeout} s; the count is not looked at"
        ),
    };
    format!("after {after} s without an answer ({why}): then the program gets ETIMEDOUT")
}

fn connect(user_timeout: u32) -> String {
    format!("ends with ETIMEDOUT after {user_timeout} s if the other end does not answer")
}

fn outage(timing: &Timing) -> String {
    let probes = timing.probes();
    let span = (probes - 1).saturating_mul(timing.interval);
    let all = match probes {
        1 => "the only probe".to_owned(),
        _ => format!("all {probes} probes, which go out within {span} s"),
    };
    match timing.survives(OUTAGE) {
        Survives::Always => format!("of two minutes: survived, since it cannot swallow {all}"),
        Survives::Sometimes => format!("of two minutes: survived, unless it swallows {all}"),
        Survives::Never => format!("of two minutes: ends the connection: it swallows {all}"),
    }
}

fn traffic(timing: &Timing) -> String {
    let (probes, ipv4) = per_hour(timing, PROBE_IPV4);
    let (_, ipv6) = per_hour(timing, PROBE_IPV6);
    let probes = if probes.fract() == 0.0 { format!("{probes}") } else { format!("{probes:.1}") };
    format!(
        "{probes} probes an hour on a silent connection; with the answers {ipv4} bytes over IPv4, {ipv6} over IPv6"
    )
}

fn warnings(values: &Values, timing: &Timing) -> Vec<String> {
    let warnings = warning::of(values);
    let mut warnings: Vec<_> =
        warnings.iter().flatten().map(|warning: &Warning| line(|line| warning.write(line))).collect();
    warnings.extend(timing.user_timeout.map(on_uploads));
    warnings
}

/// The danger of a user timeout of so many seconds.
fn on_uploads(timeout: u32) -> String {
    format!(
        "user timeout {timeout} s: it also counts for data, so a sender whose peer does not read for longer (an upload, a \
         restore, a push) is ended though the path is healthy; one that only receives is safe"
    )
}

/// The same for a rule, if it has another user timeout than `plain`.
pub fn on_uploads_by_rule(rule: &Values, plain: &Values, kernel: &Defaults) -> Option<String> {
    let timeout = |values| Timing::new(values, kernel).user_timeout;
    timeout(rule).filter(|_| timeout(rule) != timeout(plain)).map(on_uploads)
}
