//! `ka explain`: what keepalive values mean.

pub mod args;
mod traffic;
pub mod words;

use kashim_policy::keepalive::Values;
use kashim_policy::rules::Action;
use kashim_policy::variables::{Global, Variable};

use crate::cli::environment::{Environment, rule_warnings};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::middlebox;
use crate::cli::values;
use crate::output::escape::escaped;
use crate::output::print::print;
use crate::tcp::defaults;

/// The parts of IDLE/INTERVAL/COUNT/USER-TIMEOUT.
const PARTS: [(&str, Variable); 4] = [
    ("idle", Variable::Idle),
    ("interval", Variable::Interval),
    ("count", Variable::Count),
    ("user timeout", Variable::UserTimeout),
];

/// Explains the values.
pub fn run(args: args::ExplainArgs) -> Result<Exit, Error> {
    let preset = args.preset.map(|name| middlebox::by_name(&name)).transpose()?;
    let of_preset = preset.map(|preset| format!("{}/{}/{}", preset.idle, preset.interval, preset.count));
    let (text, exit) = match args.values.or(of_preset) {
        Some(values) => (words::explain(&read(&values)?, &defaults::read_or_linux()), Exit::Yes),
        None => environment(&Environment::ours()?),
    };
    print(&text)?;
    Ok(exit)
}

/// Reads `300/30/5`.
fn read(text: &str) -> Result<Values, Error> {
    let parts: Vec<_> = text.split('/').collect();
    if parts.len() > PARTS.len() {
        let shown = escaped(text.as_bytes()).into_owned();
        return Err(Error::usage(format!(
            "\"{shown}\": accepted: IDLE/INTERVAL/COUNT/USER-TIMEOUT, as 300/30/5"
        )));
    }
    let mut all = Values::DEFAULT;
    for ((name, variable), part) in PARTS.into_iter().zip(parts) {
        values::read(&mut all, name, variable, part)?;
    }
    Ok(all)
}

/// Everything that the environment sets.
fn environment(environment: &Environment) -> (String, Exit) {
    let kernel = defaults::read_or_linux();
    let (settings, faults) = environment.settings();
    let mut text = words::explain(&settings.global, &kernel);
    let mut row = |name: &str, words: &str| text.push_str(&format!("  {name:<10}{words}\n"));
    if Global::read(&environment.policy()).disabled {
        row("note", "KA_DISABLE switches kashim off: nothing of this is in force");
    }
    let rules = environment.rules(&faults);
    for ((n, written), rule) in rules.iter().zip(settings.rules.as_slice()) {
        let meaning = match &rule.action {
            Action::Off => "no keepalive".to_owned(),
            Action::Values(values) => words::in_short(values, &kernel),
        };
        row(&format!("rule {n}"), &format!("\"{}\": {meaning}", escaped(written)));
    }
    for warning in rule_warnings(&settings, &rules) {
        row("warning", &warning);
    }
    for ((n, _), rule) in rules.iter().zip(settings.rules.as_slice()) {
        let Action::Values(values) = &rule.action else { continue };
        if let Some(words) = words::on_uploads_by_rule(values, &settings.global, &kernel) {
            row("warning", &format!("rule {n}: {words}"));
        }
    }
    for fault in &faults {
        row("error", &format!("{}; {}", fault.text, fault.instead));
    }
    for stranger in environment.unknown_variables() {
        row("warning", &stranger);
    }
    (text, if faults.is_empty() { Exit::Yes } else { Exit::No })
}
