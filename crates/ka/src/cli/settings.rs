//! The settings as options: each wins over its variable.

use std::ffi::OsString;

use clap::Args;
use kashim_policy::middleboxes::{ABOUT_STRICT, STRICT};
use kashim_policy::settings::Settings;
use kashim_policy::variables::{Global, Variable};
use kashim_policy::warning;

use super::environment::{Environment, Fault, rule_warnings, text_of};
use super::error::Error;
use super::{log, middlebox};
use crate::output::escape::escaped;
use crate::output::line::line;
use crate::output::say::say;

/// What to set, and whether to tell of it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to set")]
pub struct SettingArgs {
    #[command(flatten)]
    values: ValueArgs,
    /// Say what was done to which socket: stderr (default), an absolute path, or off
    #[arg(long, value_name = "DEST", num_args = 0..=1, require_equals = true, default_missing_value = "stderr")]
    log: Option<OsString>,
}

/// What to set.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to set")]
pub struct ValueArgs {
    /// Silence before the first probe (default 60): 1 to 32767 s, as 300, 90s, 5m, 9h, or system
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    idle: Option<OsString>,
    /// Gap between unanswered probes (default 15, or the idle if that is less)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    interval: Option<OsString>,
    /// Unanswered probes until the connection is dead (default 9): 1 to 127, or system
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    count: Option<OsString>,
    /// Limit for data that nobody acknowledges: off (default), a time, or auto
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    user_timeout: Option<OsString>,
    /// These values win over the program's own
    #[arg(long)]
    force: bool,
    /// For some destinations only, as '10.0.0.0/8:3306 idle=5m' or ':22 off'; may be repeated
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    rule: Vec<OsString>,
    /// Idle, interval and count that outlive a kind of middlebox; `ka presets` shows the names
    #[arg(long = "for", value_name = "NAME", allow_hyphen_values = true, value_parser = middlebox::Name, hide_possible_values = true)]
    middlebox: Option<OsString>,
}

/// The settings in force, as a program will find them that is started from here.
#[derive(Debug)]
pub struct Given {
    /// The variables, with what the options say.
    pub environment: Environment,
    /// What the options say, and which says it.
    pub options: Vec<(Variable, OsString, &'static str)>,
    /// `--for strict`.
    strict: bool,
}

/// Settings that are all good, and what is to be said about them.
#[derive(Debug)]
pub struct Chosen {
    /// The settings.
    pub settings: Box<Settings>,
    /// Dangers, and names of variables that are nearly ours.
    pub warnings: Vec<String>,
}

impl SettingArgs {
    /// Puts the options over the environment.
    pub fn over_environment(self) -> Result<Given, Error> {
        self.values.over_environment_with(self.log)
    }
}

impl ValueArgs {
    /// What these options and the environment come to where no library is involved. Anything that is wrong is an error.
    pub fn without_library(self) -> Result<Chosen, Error> {
        let given = self.over_environment_with(None)?;
        if let Some(value) = given.disabled() {
            return Err(Error::new(format!("KA_DISABLE={value} switches kashim off; unset it")));
        }
        let (settings, faults, _) = given.settings();
        if let Some(fault) = faults.first() {
            return Err(Error::usage(fault.text.clone()));
        }
        let remarks = given.remarks(&settings, &given.environment.rules(&faults));
        let mut warnings: Vec<_> = remarks.into_iter().map(|(_, words)| words).collect();
        warnings.extend(given.environment.unknown_variables());
        for variable in [Variable::Skip, Variable::Log] {
            if given.environment.policy().get(variable).is_some() {
                warnings.push(format!("{} is for the library, and does nothing here", text_of(variable)));
            }
        }
        Ok(Chosen { settings, warnings })
    }

    fn over_environment_with(self, log: Option<OsString>) -> Result<Given, Error> {
        let mut options = Vec::new();
        for (variable, option, value) in [
            (Variable::Idle, "--idle", self.idle),
            (Variable::Interval, "--interval", self.interval),
            (Variable::Count, "--count", self.count),
            (Variable::UserTimeout, "--user-timeout", self.user_timeout),
            (Variable::Force, "--force", self.force.then(|| "1".into())),
            (Variable::Log, "--log", log),
        ] {
            if let Some(value) = value {
                options.push((variable, not_empty(option, value)?, option));
            }
        }
        if !self.rule.is_empty() {
            let mut rules = Vec::new();
            for rule in self.rule {
                rules.push(not_empty("--rule", rule)?);
            }
            // Those that were there come behind: the first that matches counts.
            rules.extend(std::env::var_os(text_of(Variable::Rules)).filter(|there| !there.is_empty()));
            options.push((Variable::Rules, rules.join("; ".as_ref()), "--rule"));
        }
        let mut strict = false;
        if let Some(name) = self.middlebox {
            let preset = middlebox::by_name(&not_empty("--for", name)?)?;
            for (variable, value) in [
                (Variable::Idle, preset.idle),
                (Variable::Interval, preset.interval),
                (Variable::Count, preset.count),
            ] {
                if options.iter().all(|(other, ..)| *other != variable) {
                    options.push((variable, value.to_string().into(), "--for"));
                }
            }
            strict = preset.name == STRICT;
        }
        // If a variable is set twice, the first wins.
        let ours = options.iter().map(|(variable, value, _)| (text_of(*variable).into(), value.clone()));
        let environment = Environment::read(ours.chain(std::env::vars_os()))?;
        Ok(Given { environment, options, strict })
    }
}

fn not_empty(option: &str, value: OsString) -> Result<OsString, Error> {
    if value.is_empty() {
        return Err(Error::usage(format!("{option} needs a value that is not empty; see --help")));
    }
    Ok(value)
}

impl Given {
    /// The value of `KA_DISABLE`, if that switches kashim off.
    pub fn disabled(&self) -> Option<String> {
        let policy = self.environment.policy();
        let value = policy.get(Variable::Disable).unwrap_or_default();
        Global::read(&policy).disabled.then(|| escaped(value).into_owned())
    }

    /// The settings, what is wrong with them, and what is wrong with the log.
    pub fn settings(&self) -> (Box<Settings>, Vec<Fault>, Option<String>) {
        let (settings, mut faults) = self.environment.settings();
        let mut of_log = log::fault(&self.environment.policy());
        for fault in &mut faults {
            fault.text.push_str(&self.origin(fault.variable));
        }
        if let Some(text) = &mut of_log {
            text.push_str(&self.origin(Variable::Log));
        }
        (settings, faults, of_log)
    }

    /// Where the value of a variable came from, if that is not plain to see.
    fn origin(&self, variable: Variable) -> String {
        let option = self.options.iter().find(|(other, ..)| *other == variable);
        option.map(|(_, _, option)| format!(" (from {option})")).unwrap_or_default()
    }

    /// What is dangerous in the settings, and what to know about the middlebox: a kind and the words. `rules` are those that
    /// hold, with their numbers.
    pub fn remarks(&self, settings: &Settings, rules: &[(u32, Vec<u8>)]) -> Vec<(&'static str, String)> {
        let of_values = warning::of(&settings.global);
        let mut found: Vec<_> =
            of_values.iter().flatten().map(|warning| line(|line| warning.write(line))).collect();
        found.extend(rule_warnings(settings, rules));
        let mut found: Vec<_> = found.into_iter().map(|words| ("warning", words)).collect();
        if self.strict {
            found.push(("note", ABOUT_STRICT.to_owned()));
        }
        found
    }
}

/// The settings, having said what is dangerous in them; or what is wrong with them is said, and that the caller does
/// `nothing` then.
pub fn good_settings(given: &Given, nothing: &str) -> Result<Box<Settings>, Error> {
    good(given, nothing, true)
}

/// The same for somewhere else: whether the log can be written here does not count.
pub fn good_settings_for_elsewhere(given: &Given, nothing: &str) -> Result<Box<Settings>, Error> {
    good(given, nothing, false)
}

fn good(given: &Given, nothing: &str, here: bool) -> Result<Box<Settings>, Error> {
    let (settings, faults, of_log) = given.settings();
    let of_log = of_log.filter(|_| here);
    for text in faults.iter().map(|fault| &fault.text).chain(&of_log) {
        say(&format!("error: {text}"));
    }
    if !faults.is_empty() || of_log.is_some() {
        return Err(Error::new(nothing));
    }
    for (kind, words) in given.remarks(&settings, &given.environment.rules(&faults)) {
        say(&format!("{kind}: {words}"));
    }
    for words in given.environment.misspelt_variables() {
        say(&format!("warning: {words}"));
    }
    Ok(settings)
}
