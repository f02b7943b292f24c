//! `ka attached`: what is attached where, and what came of it.

use std::io::{Write, stderr, stdout};

use clap::Args;
use serde::Serialize;

use crate::cgroup::attached::{self, Attachment};
use crate::cgroup::layout::{COUNTERS, Policy};
use crate::cgroup::tree::Tree;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::commands::attach::settings_in_words;

/// The command line of `ka attached`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status: 0; 1 if nothing is attached anywhere; 2 for a bad command line; 125 if ka itself fails.")]
pub struct AttachedArgs {
    /// For programs: everything, as JSON
    #[arg(long)]
    json: bool,
}

/// Lists what is attached where.
pub fn run(args: AttachedArgs) -> Result<Exit, Error> {
    let mut found = Vec::new();
    Tree::find()?.each(|cgroup| {
        found.extend(attached::read(&cgroup)?.map(|attachment| (cgroup.shown(), attachment)));
        Ok(())
    })?;
    let text = if args.json { json(&found)? } else { found.iter().map(in_words).collect() };
    stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::new(format!("cannot write to standard output: {error}")))?;
    if found.is_empty() && !args.json {
        let _ = writeln!(stderr(), "ka: nothing is attached");
    }
    Ok(if found.is_empty() { Exit::No } else { Exit::Yes })
}

fn in_words((name, attachment): &(String, Attachment)) -> String {
    let mut text = format!("{name}\n");
    let mut row = |name: &str, words: &str| text.push_str(&format!("  {name:<12}{words}\n"));
    match &attachment.policy {
        Some(policy) => {
            row("settings", &settings_in_words(policy));
            for rule in &policy.rules {
                row("rule", &rule.to_string());
            }
        }
        None => row("settings", "unknown: another version of ka has attached them; attach again"),
    }
    let force = attachment.policy.as_ref().is_some_and(|policy| policy.force);
    if !attachment.decides {
        row(
            "warning",
            "what was left of an attempt that was killed, and does nothing; attach again, or detach",
        );
    } else if force && !attachment.holds {
        row("warning", "the program that holds the values is missing; attach again");
    }
    let [set, already, own, off, inner, refused, unreadable, held] = attachment.counts;
    row("set", &set.to_string());
    let reasons = [
        (already, "set already"),
        (own, "the program's own settings"),
        (off, "a rule says off"),
        (inner, "an inner cgroup's attachment decided"),
        (unreadable, "the kernel cannot read the options (it has to be 6.1 or newer)"),
    ];
    let reasons: Vec<_> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if !reasons.is_empty() {
        row("left alone", &reasons.join("; "));
    }
    for (name, n) in [("refused", refused), ("held", held)] {
        if n > 0 {
            row(name, &n.to_string());
        }
    }
    text
}

/// All of it.
#[derive(Serialize)]
struct Report {
    version: u32,
    attached: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    cgroup: String,
    settings: Option<Values>,
    rules: Vec<Rule>,
    force: bool,
    decides: bool,
    holds: bool,
    counts: serde_json::Map<String, serde_json::Value>,
}

/// As in the options; null where it is left to the kernel, and for no user timeout.
#[derive(Serialize)]
struct Values {
    idle_s: Option<u32>,
    interval_s: Option<u32>,
    count: Option<u32>,
    user_timeout_ms: Option<u32>,
}

#[derive(Serialize)]
struct Rule {
    text: String,
    off: bool,
    values: Option<Values>,
}

impl Values {
    fn new(&[idle, interval, count, user_timeout]: &[u32; 4]) -> Self {
        let number = |n: u32| (n != 0).then_some(n);
        Self {
            idle_s: number(idle),
            interval_s: number(interval),
            count: number(count),
            user_timeout_ms: number(user_timeout),
        }
    }
}

fn json(found: &[(String, Attachment)]) -> Result<String, Error> {
    let rules = |policy: &Policy| {
        let rule = |rule: &crate::cgroup::layout::Rule| Rule {
            text: rule.to_string(),
            off: rule.want.is_none(),
            values: rule.want.as_ref().map(Values::new),
        };
        policy.rules.iter().map(rule).collect()
    };
    let entry = |(name, attachment): &'_ (String, Attachment)| {
        let Attachment { policy, counts, decides, holds } = attachment;
        Entry {
            cgroup: name.clone(),
            settings: policy.as_ref().map(|policy| Values::new(&policy.global)),
            rules: policy.as_ref().map(rules).unwrap_or_default(),
            force: policy.as_ref().is_some_and(|policy| policy.force),
            decides: *decides,
            holds: *holds,
            counts: COUNTERS.iter().zip(counts).map(|(name, n)| ((*name).to_owned(), (*n).into())).collect(),
        }
    };
    let attached = found.iter().map(entry).collect();
    let report = Report { version: 1, attached };
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::new(format!("cannot write JSON: {error}")))?;
    Ok(text + "\n")
}
