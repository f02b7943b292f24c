//! All settings as options, for the commands that put the whole of them in force.

use clap::Args;
use kashim_policy::environment::Variable;
use kashim_policy::keepalive::Values;
use kashim_policy::line::Line;
use kashim_policy::rules::Rules;
use kashim_policy::settings::{Settings, is_disabled};

use crate::cli::environment::{Environment, rule_warnings};
use crate::cli::error::Error;
use crate::cli::middlebox;
use crate::cli::values;

/// The options. Each goes before `--for`, and that before the environment.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Silence before the first probe (1 to 32767 s), or system
    #[arg(long, value_name = "DURATION")]
    idle: Option<String>,
    /// Gap between unanswered probes (1 to 32767 s), or system
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,
    /// Unanswered probes before the connection is dead (1 to 127), or system
    #[arg(long, value_name = "N")]
    count: Option<String>,
    /// Limit for unacknowledged data: off, auto (idle + interval * count) or a duration
    #[arg(long, value_name = "DURATION")]
    user_timeout: Option<String>,
    /// The values that outlive this middlebox; the options above go before
    #[arg(long = "for", value_name = "NAME")]
    middlebox: Option<String>,
    /// For some destinations only, as '10.0.0.0/8:3306 idle=5m' or ':22 off'; may be repeated, and the first that
    /// matches counts
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    /// These values win over the program's own
    #[arg(long)]
    force: bool,
}

/// The settings, and what is to be said about them.
#[derive(Debug)]
pub struct Chosen {
    /// They are all good.
    pub settings: Box<Settings>,
    /// Dangers, and names of variables that are nearly ours.
    pub warnings: Vec<String>,
}

impl SettingsArgs {
    /// What these options and the environment come to. Anything that is wrong is an error.
    pub fn choose(&self, mut environment: Environment) -> Result<Chosen, Error> {
        if is_disabled(&environment.policy()) {
            return Err(Error::new("KA_DISABLE is set, which switches kashim off; unset it"));
        }
        if let Some(name) = &self.middlebox {
            let preset = middlebox::by_name(name)?;
            for (variable, n) in [
                (Variable::Idle, preset.idle),
                (Variable::Interval, preset.interval),
                (Variable::Count, preset.count),
            ] {
                environment.set(variable, n.to_string().as_bytes());
            }
        }
        for (option, variable, text) in [
            ("--idle", Variable::Idle, &self.idle),
            ("--interval", Variable::Interval, &self.interval),
            ("--count", Variable::Count, &self.count),
            ("--user-timeout", Variable::UserTimeout, &self.user_timeout),
        ] {
            if let Some(text) = text {
                // For the message, which names the option.
                values::read(&mut Values::DEFAULT.clone(), option, variable, text)?;
                environment.set(variable, text.as_bytes());
            }
        }
        if self.force {
            environment.set(Variable::Force, b"1");
        }
        if !self.rules.is_empty() {
            self.check_rules()?;
            let mut all = self.rules.join("; ").into_bytes();
            if let Some(more) = environment.policy().get(Variable::Rules) {
                all.extend([b"; ", more].concat());
            }
            environment.set(Variable::Rules, &all);
        }
        let (settings, faults) = environment.settings();
        if let Some(fault) = faults.first() {
            return Err(Error::usage(fault.text.clone()));
        }
        let mut warnings = rule_warnings(&settings, &environment.rules(&faults));
        for warning in kashim_policy::warning::of(&settings.plain).into_iter().flatten() {
            let mut line = Line::EMPTY;
            warning.write(&mut line);
            warnings.push(String::from_utf8_lossy(line.as_bytes()).into_owned());
        }
        warnings.extend(environment.unknown_variables());
        Ok(Chosen { settings, warnings })
    }

    /// Each by itself, so that the message is about the option.
    fn check_rules(&self) -> Result<(), Error> {
        for text in &self.rules {
            let mut said = None;
            let mut rules = Box::new(Rules::NONE);
            rules.read(text.as_bytes(), &Values::DEFAULT, &mut |fault| {
                let mut line = Line::EMPTY;
                line.quoted(fault.value);
                line.push_str(": ");
                line.push_bytes(fault.problem.text());
                line.push_str("; accepted: ");
                line.push_bytes(fault.accepted.text());
                said.get_or_insert(format!("--rule {}", String::from_utf8_lossy(line.as_bytes())));
            });
            if let Some(said) = said {
                return Err(Error::usage(said));
            }
        }
        Ok(())
    }
}
