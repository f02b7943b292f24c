//! What is said about a measurement, for programs. Described in docs/ka-probe-json.md.

use std::time::Duration;

use kashim_policy::middleboxes::Verdict;
use serde_json::{Value, json};

use super::advice::{for_silence, suspects};
use super::connection::{Failure, Observation, Outcome};
use super::diagnosis::{Diagnosis, End};
use super::report::gives_advice;

/// Of this form of the document.
const VERSION: u32 = 1;

/// The head, which is there whatever comes of it.
pub fn head(host: &str, port: u16, max: Duration, connections: usize) -> Value {
    json!({
        "version": VERSION, "ka": env!("CARGO_PKG_VERSION"), "host": host, "port": port, "address": null,
        "max_s": down(max), "connections": connections,
        "finding": "unknown", "alive_s": null, "gone_s": null, "steady": true, "certain": null, "proxy": false, "interrupted": false,
        "set": null, "suspects": [], "failed_connections": 0, "observations": [],
    })
}

/// That there was no connection.
pub fn failure(document: &mut Value, failure: Failure, interrupted: bool) {
    document["interrupted"] = interrupted.into();
    if !interrupted {
        document["finding"] = if failure == Failure::CONNREFUSED { "refused" } else { "unreachable" }.into();
    }
}

/// One observation.
pub fn observation(round: u32, seen: &Observation) -> Value {
    let outcome = match seen.outcome {
        Outcome::Alive => "alive",
        Outcome::Dropped => "dropped",
        Outcome::Reset => "reset",
        Outcome::ResetInSilence => "reset-in-silence",
        Outcome::Closed => "closed",
        Outcome::NeverSilent => "never-silent",
        Outcome::NoProbes => "no-probes",
    };
    json!({
        "round": round, "planned_s": down(seen.planned),
        "at_least_s": down(seen.at_least), "at_most_s": up(seen.at_most), "outcome": outcome,
    })
}

/// What it all comes to.
pub fn diagnosis(document: &mut Value, found: &Diagnosis, proxy: bool, interrupted: bool) {
    let (word, gone) = match found.end {
        End::Dropped(gone) => ("dropped", Some(gone)),
        End::Reset(gone) => ("reset", Some(gone)),
        End::ResetInSilence(after) => ("reset-in-silence", Some(after)),
        End::ResetByServer(after) => ("reset-by-server", Some(after)),
        End::Closed(after) => ("closed", Some(after)),
        End::NoProbes => ("no-probes", None),
        End::NeverSilent(_) => ("never-silent", None),
        End::Never => ("never", None),
        End::Unknown => ("unknown", None),
    };
    document["finding"] = word.into();
    document["alive_s"] = found.alive.map(down).into();
    document["gone_s"] = gone.map(up).into();
    document["steady"] = (!found.unsteady).into();
    document["certain"] = found.end.limit().map(|_| found.is_certain()).into();
    document["proxy"] = proxy.into();
    document["interrupted"] = interrupted.into();
    if let Some(advice) = found.alive.filter(|_| gives_advice(found)).and_then(for_silence) {
        document["set"] = json!({
            "idle_s": advice.idle, "interval_s": advice.interval,
            "verdict": match advice.verdict {
                Verdict::Yes => "yes",
                Verdict::Risky => "risky",
                Verdict::No => "no",
            },
            "default_does": advice.default_does,
            "preset": advice.preset.map(|preset| preset.name),
        });
    }
    if let Some(gone) = found.end.limit() {
        let names: Vec<_> =
            suspects(found.alive.unwrap_or_default(), gone).map(|preset| preset.name).collect();
        document["suspects"] = names.into();
    }
}

/// In seconds to the millisecond, not more than it is.
fn down(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// The same, not less than it is.
fn up(duration: Duration) -> f64 {
    duration.as_micros().div_ceil(1000) as f64 / 1000.0
}
