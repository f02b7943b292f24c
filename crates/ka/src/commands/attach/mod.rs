//! `ka attach`: keepalive for all connections of a cgroup, by a BPF program.

pub mod args;
mod existing;

use std::io::{Write, stderr, stdout};

use crate::cgroup::attachment::Loaded;
use crate::cgroup::layout::{Policy, in_words};
use crate::cgroup::tree;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::process::caller::ignore_sigpipe;
use kashim_policy::keepalive::Defaults;

/// Attaches the program to the cgroup, or says what it would attach.
pub fn run(args: args::AttachArgs) -> Result<Exit, Error> {
    // Who reads only the first line does not stop it halfway.
    ignore_sigpipe();
    let chosen = args.settings.without_library()?;
    let mut notes = chosen.warnings;
    let cgroup = tree::resolve(&args.target)?;
    let (loaded, warning) = Loaded::new(&chosen.settings)?;
    notes.extend(warning);
    for note in notes {
        say(&mut stderr(), &format!("ka: warning: {note}"));
    }
    let policy = Policy::new(&chosen.settings, &Defaults::LINUX);
    let what = settings_in_words(&policy);
    let name = cgroup.shown();
    let replaced = if args.dry_run { loaded.check(&cgroup)? } else { loaded.attach(&cgroup)? };
    let count = cgroup.processes().len();
    let processes = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
    let done = match (args.dry_run, replaced) {
        (true, true) => "would be attached, in place of what is there",
        (true, false) => "would be attached",
        (false, true) => "attached, in place of what was there",
        (false, false) => "attached",
    };
    say(&mut stdout(), &format!("{name}: {done} ({what}); {processes} there now"));
    for rule in &policy.rules {
        say(&mut stdout(), &format!("  {rule}"));
    }
    if args.now { existing::run(&cgroup, &chosen.settings, &loaded, args.dry_run) } else { Ok(Exit::Yes) }
}

/// `60/15/9, 2 rules, force`
pub fn settings_in_words(policy: &Policy) -> String {
    let mut text = in_words(&policy.global);
    match policy.rules.len() {
        0 => {}
        1 => text += ", 1 rule",
        n => text += &format!(", {n} rules"),
    }
    if policy.force {
        text += ", force";
    }
    text
}

/// Writes a line at once. That nobody reads it is no reason to fail: what is done is done.
fn say(out: &mut impl Write, line: &str) {
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}
