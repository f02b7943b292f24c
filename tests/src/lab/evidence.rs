//! What was seen in the lab, written down for `scripts/evidence`.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use super::{Lab, Seen, Way};
use crate::{Result, Running, target_dir};

/// The record of one scenario behind one firewall. It becomes `evidence/SCENARIO-NAME-FIREWALL.json` in the target
/// directory.
#[derive(Debug)]
pub struct Evidence {
    file: String,
    fields: Vec<(&'static str, String)>,
    runs: Vec<String>,
}

impl Evidence {
    /// A record for the scenario with this number. `name` is one word for the file; `what` says in one sentence what
    /// happens.
    pub fn new(scenario: u32, name: &str, what: &str, lab: &Lab) -> Self {
        let firewall = lab.firewall().name();
        let fields = vec![
            ("scenario", scenario.to_string()),
            ("what", quoted(what)),
            ("firewall", quoted(firewall)),
            ("timeout", lab.timeout().as_secs().to_string()),
        ];
        Self { file: format!("{scenario}-{name}-{firewall}.json"), fields, runs: Vec::new() }
    }

    /// Adds how each way ended.
    pub fn runs(&mut self, runs: &[(Way, Running)], ends: &[Seen]) {
        for ((way, _), end) in runs.iter().zip(ends) {
            self.run(way, end);
        }
    }

    /// Adds how one way ended: `settings` as [`super::Way`] shows them.
    pub fn run(&mut self, settings: impl ToString, seen: &Seen) {
        let (outcome, after) = match seen {
            Seen::Completed(after) => ("completed".to_owned(), after),
            Seen::Hung(after) => ("hangs".to_owned(), after),
            Seen::Failed(after, words) => (words.clone(), after),
        };
        self.outcome(settings, seen.completed(), &outcome, *after);
    }

    /// Adds an outcome in words, and when it was seen.
    pub fn outcome(&mut self, settings: impl ToString, success: bool, outcome: &str, after: Duration) {
        self.runs.push(format!(
            "{{\"settings\": {}, \"success\": {success}, \"outcome\": {}, \"after\": {:.3}}}",
            quoted(&settings.to_string()),
            quoted(outcome),
            after.as_secs_f64()
        ));
    }

    /// Adds a number, such as a count or a time in seconds.
    pub fn number(&mut self, name: &'static str, value: f64) {
        self.fields.push((name, format!("{value:.3}")));
    }

    /// Adds anything else, which is JSON already.
    pub fn json(&mut self, name: &'static str, json: String) {
        self.fields.push((name, json));
    }

    /// Writes the record.
    pub fn write(self) -> Result {
        let directory = target_dir().join("evidence");
        fs::create_dir_all(&directory)?;
        let mut text = String::from("{\n");
        for (name, value) in &self.fields {
            writeln!(text, "  {}: {value},", quoted(name))?;
        }
        writeln!(text, "  \"runs\": [\n    {}\n  ]\n}}", self.runs.join(",\n    "))?;
        Ok(fs::write(directory.join(self.file), text)?)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '.. => quoted.push(c),
            _ => quoted.push(' '),
        }
    }
    quoted + "\""
}
