//! What is said about a measurement, in words.

use std::fmt::Write;
use std::time::Duration;

use kashim_policy::middleboxes::Verdict;

use super::advice::{Advice, for_silence, suspects};
use super::connection::{ANSWERS_WITHIN, Failure, Observation, Outcome};
use super::diagnosis::{Diagnosis, End};
use super::schedule::ROUNDS;

/// What the first round will do.
pub fn intention(host: &str, address: &str, silences: &[Duration], took: Duration) -> String {
    let (first, last) = ends(silences);
    format!(
        "{host} ({address}) reached in {} ms\n\
         {} connections, silent for {} s to {} s: takes at most {} s; if there is a limit, up to {} rounds more, each \
         about as long as that limit, to narrow it down and to see it again\n",
        took.as_millis(),
        silences.len(),
        down(first),
        up(last),
        up(last + ANSWERS_WITHIN),
        ROUNDS - 1
    )
}

/// What the next round will do.
pub fn next_intention(silences: &[Duration]) -> String {
    let (first, last) = ends(silences);
    let which = if first == last {
        format!("once more {} s", up(last))
    } else {
        format!("between {} s and {} s", down(first), up(last))
    };
    format!("{which}: {} connections more, at most {} s\n", silences.len(), up(last + ANSWERS_WITHIN))
}

/// What is done about a RST that nobody asked for.
pub fn whose_reset(after: Duration) -> String {
    format!("whose RST it is: one connection with keepalive, at most {} s\n", up(after.mul_f64(1.5)))
}

fn ends(silences: &[Duration]) -> (Duration, Duration) {
    (silences.first().copied().unwrap_or_default(), silences.last().copied().unwrap_or_default())
}

/// One observation.
pub fn observation(seen: &Observation) -> String {
    let (silence, words) = match seen.outcome {
        Outcome::Alive => (down(seen.at_least), "alive"),
        Outcome::Dropped => (up(seen.at_most), "gone: the probes were not answered"),
        Outcome::Reset => (up(seen.at_most), "gone: answered with a RST"),
        Outcome::ResetInSilence => (about(seen.at_most), "reset by an unsolicited RST"),
        Outcome::Closed => (about(seen.at_most), "closed by the other end"),
        Outcome::NeverSilent => (down(seen.at_least), "was the longest silence: the other end keeps sending"),
        Outcome::NoProbes => (up(seen.at_most), "new, and its probes were not answered"),
    };
    format!("{silence:>8} s  {words}\n")
}

/// Connections that could not be made, if there are any.
pub fn failures(failures: &[Failure], of: usize) -> String {
    let Some(first) = failures.first() else { return String::new() };
    format!("note: {} of {of} connections could not be made: {first}\n", failures.len())
}

/// What it all comes to.
pub fn diagnosis(found: &Diagnosis, max: Duration, proxy: Option<u16>, interrupted: bool) -> String {
    let mut out = String::from("\n");
    let mut rows = Vec::new();
    let alive = found.alive.map_or_else(|| "0".to_owned(), down);
    let headline = match found.end {
        End::Dropped(gone) | End::Reset(gone) => {
            format!(
                "the path forgets a connection: alive after {alive} s of silence, gone after {} s",
                up(gone)
            )
        }
        End::ResetInSilence(after) | End::ResetByServer(after) => {
            format!("after {} s of silence an unsolicited RST ends the connection", about(after))
        }
        End::Closed(after) => format!(
            "the other end closes an idle connection by itself after {} s, and the path still knew it then",
            about(after)
        ),
        End::NoProbes => "not even a fresh connection has its probes answered".to_owned(),
        End::NeverSilent(longest) => format!(
            "the other end sends something by itself every {} s or so: the path is never silent for longer",
            about(longest)
        ),
        End::Never => {
            format!("no limit up to {} s: a connection that was silent for so long is alive", down(max))
        }
        End::Unknown if found.alive.is_some() => {
            format!("alive after {alive} s of silence; more is not known")
        }
        End::Unknown => "nothing is known yet".to_owned(),
    };
    let _ = writeln!(out, "{headline}");
    how(found, &mut rows);
    if let Some(port) = proxy {
        let words = format!(
            "connections to port {port} are accepted too, where nothing listens anywhere: something on the way seems to \
             accept them all, and only the path to it was measured"
        );
        rows.push(("proxy", words));
    }
    advice(found, &mut rows);
    if let Some(gone) = found.end.limit() {
        for preset in suspects(found.alive.unwrap_or_default(), gone) {
            rows.push((
                "perhaps",
                format!("{}: forgets after {} s ({})", preset.name, preset.timeout, preset.what),
            ));
        }
    }
    unknown(found, &mut rows);
    if !found.is_certain() {
        let words = "only seen on so few connections that lost packets explain it as well: measure again";
        rows.push(("uncertain", words.to_owned()));
    }
    if found.unsteady {
        let words = "one connection was gone, another outlived more: packets were lost, or not all take the same path";
        rows.push(("unsteady", words.to_owned()));
    }
    if interrupted {
        rows.push(("note", "interrupted: that is what was known by then".to_owned()));
    }
    for (name, words) in rows {
        let _ = writeln!(out, "  {name:<10}{words}");
    }
    out
}

type Rows = Vec<(&'static str, String)>;

fn how(found: &Diagnosis, rows: &mut Rows) {
    let words = match found.end {
        End::Dropped(_) => {
            "what is sent later is dropped in silence: a program that waits for an answer waits until its own timers end it"
        }
        End::Reset(_) => {
            "what is sent later is answered with a RST, by the box or by the server behind it: the program gets an error"
        }
        End::ResetInSilence(_) => {
            "by a middlebox that sends a RST when it forgets (Azure's can): a connection with keepalive was not reset"
        }
        End::ResetByServer(_) => {
            "by the server, or a proxy before it: a connection with keepalive was reset as well, so that does not help"
        }
        End::Closed(_) => {
            "a FIN: the server, or a proxy before it, has a limit for time without data; raise it there, keepalive does not help"
        }
        End::NoProbes => {
            "the path or the server drops keepalive probes (or the network is out): keepalive would end healthy connections"
        }
        End::NeverSilent(_) => "such as its own keepalive: that keeps the path open already",
        End::Never | End::Unknown => return,
    };
    rows.push(("how", words.to_owned()));
}

fn advice(found: &Diagnosis, rows: &mut Rows) {
    if !gives_advice(found) {
        return;
    }
    let Some(advice) = found.alive.and_then(for_silence) else {
        if found.end.limit().is_some() {
            rows.push(("set", "nothing that would help: probes go out once a second at most".to_owned()));
        }
        return;
    };
    let Advice { idle, interval, verdict, .. } = advice;
    if found.end == End::Never {
        let words = if advice.default_does {
            "the default of 60 does; anything"
        } else {
            "nothing is known that asks for it;"
        };
        rows.push(("set", format!("{words} up to KA_IDLE={idle} stays within half of what was tried")));
        return;
    }
    let period = idle.max(interval) + 2 * interval;
    let sure = match verdict {
        Verdict::Yes => "room for two lost probes",
        Verdict::Risky => "risky: no room for two lost probes",
        Verdict::No => "not enough: probes go out once a second at most",
    };
    let silence = down(found.alive.unwrap_or_default());
    let default = if advice.default_does { "; the default of 60 does as well" } else { "" };
    rows.push(("set", format!("KA_IDLE={idle} ({sure}: {period} s of {silence} s){default}")));
    if let Some(preset) = advice.preset {
        let values = format!("{}/{}/{}", preset.idle, preset.interval, preset.count);
        rows.push(("or", format!("ka-run --for {}: {values}", preset.name)));
    }
}

/// Whether keepalive is an answer to it.
pub fn gives_advice(found: &Diagnosis) -> bool {
    matches!(found.end, End::Dropped(_) | End::Reset(_) | End::ResetInSilence(_) | End::Never)
        && found.is_certain()
}

fn unknown(found: &Diagnosis, rows: &mut Rows) {
    let words = match found.end {
        End::Dropped(_) | End::Reset(_) => {
            "whether a packet from the server would still come through: only this side has sent"
        }
        End::Never => {
            "whether a proxy answers in place of the server (its limits look at data), or a box on the way learns the \
             connection anew from this side's packets"
        }
        End::Closed(_) => {
            "the path's idle timeout: try a server that tolerates idle clients longer, as nc -lk 5000 on the other side"
        }
        End::ResetByServer(_) => {
            "the path's idle timeout: try a server that tolerates idle clients, as nc -lk 5000 on the other side"
        }
        End::NeverSilent(_) => "the path's idle timeout: try a server that says nothing, as nc -lk 5000",
        End::NoProbes | End::Unknown | End::ResetInSilence(_) => return,
    };
    rows.push(("not known", words.to_owned()));
}

/// In seconds, not more than it is.
pub fn down(duration: Duration) -> String {
    in_seconds(duration, f64::floor)
}

/// In seconds, not less than it is, but for what passes between deciding to probe and seeing the probe leave.
pub fn up(duration: Duration) -> String {
    in_seconds(duration.saturating_sub(Duration::from_millis(50)), f64::ceil)
}

/// In seconds, for what was seen when it happened.
fn about(duration: Duration) -> String {
    in_seconds(duration, f64::round)
}

/// With tenths up to a minute, where they matter.
fn in_seconds(duration: Duration, round: fn(f64) -> f64) -> String {
    // A millisecond more or less is what makes 5.999999 of a planned 6.
    let seconds = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    let tenths = round((seconds * 10.0 * 1000.0).round() / 1000.0) / 10.0;
    if seconds < 60.0 && tenths.fract() != 0.0 {
        format!("{tenths:.1}")
    } else {
        format!("{:.0}", round(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_never_promise_too_much() {
        let of = |s: f64| (down(Duration::from_secs_f64(s)), up(Duration::from_secs_f64(s)));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of(6.0), pair("6", "6"));
        assert_eq!(of(5.96), pair("5.9", "6"));
        assert_eq!(of(600.02), pair("600", "600"));
        assert_eq!(of(6.24), pair("6.2", "6.2"));
        assert_eq!(of(0.06), pair("0", "0.1"));
        assert_eq!(of(337.5), pair("337", "338"));
        assert_eq!(of(59.97), pair("59.9", "60"));
    }
}
