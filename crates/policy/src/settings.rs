//! All the settings of a process, read from its environment.

use crate::complaint::{Complaint, Instead};
use crate::environment::{Environment, Variable};
use crate::rules::{Action, Rules, user_timeout, value_or_system};
use crate::skip;
use crate::value::{self, MAX_COUNT, MAX_SECONDS, Problem};
use crate::values::{DEFAULT_INTERVAL, Interval, PerField, UserTimeout, Values};

/// What is accepted, in words.
pub(crate) mod accepted {
    pub const DURATION: &str = "1 to 32767 seconds (300, 90s, 5m, 9h) or system";
    pub const COUNT: &str = "1 to 127 or system";
    pub const USER_TIMEOUT: &str = "off, auto or 1 to 2147483 seconds (300, 90s, 5m, 9h)";
    pub const BOOLEAN: &str = "0, 1, no, yes, off, on, false, true";
    pub const LOG: &str = "off, stderr or an absolute path of at most 4095 bytes";
    pub const SKIP: &str = "base names of programs with : between";
    pub const MATCH: &str =
        "*, 10.0.0.0/8, [2001:db8::]/32, each with :PORT or :LOW-HIGH behind it, or :PORT alone";
    pub const RULE_SETTINGS: &str = "off, or idle= interval= count= user-timeout=, each once";
    pub const MAX_RULES: &str = "64 rules";
}

/// The longest path that `KA_LOG` may name, in bytes (PATH_MAX less the zero at the end).
pub const MAX_LOG_PATH: usize = 4095;

/// What the hooks need to know about every socket.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For every connection that no rule is for.
    pub plain: Values,
    /// Our values win over the program's own.
    pub force: bool,
    /// For single destinations.
    pub rules: Rules,
    /// Some value follows from one of the kernel's own, see [`Values::leans_on`].
    pub leans_on_kernel: bool,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log<'a> {
    /// Complaints about bad settings only, on stderr.
    #[default]
    Complaints,
    /// Nowhere, not even complaints.
    Off,
    /// The standard error.
    Stderr,
    /// A file, by an absolute path.
    Path(&'a [u8]),
}

impl Settings {
    /// All zeroes in memory: a place to read settings into, and nothing that may be used before.
    pub const EMPTY: Settings = Settings {
        plain: Values { idle: None, interval: Interval::System, count: None, user_timeout: UserTimeout::Off },
        force: false,
        rules: Rules::NONE,
        leans_on_kernel: false,
    };

    /// Reads everything but `KA_DISABLE`, `KA_SKIP` and `KA_LOG` into `self`, which may hold anything. Each bad value
    /// is handed to `complain`; that one setting is the default's then, and the rest still apply.
    pub fn read(&mut self, environment: &Environment, mut complain: impl FnMut(&Complaint)) {
        let d = Values::DEFAULT;
        let mut bad = |variable, value, problem, accepted, instead| {
            complain(&Complaint { variable, rule: None, value, problem, accepted, instead });
        };

        self.plain = d;
        if let Some(v) = environment.get(Variable::Idle) {
            match value_or_system(v, value::duration(v, MAX_SECONDS)) {
                Ok(idle) => self.plain.idle = idle,
                Err(p) => bad(
                    Variable::Idle,
                    v,
                    p,
                    accepted::DURATION,
                    Instead::Number(d.idle.map_or(0, |n| n.get()).into()),
                ),
            }
        }
        if let Some(v) = environment.get(Variable::Interval) {
            match value_or_system(v, value::duration(v, MAX_SECONDS)) {
                Ok(n) => self.plain.interval = n.map_or(Interval::System, Interval::Seconds),
                Err(p) => {
                    let instead = match self.plain.idle {
                        Some(idle) => Instead::Number(DEFAULT_INTERVAL.min(idle.get().into())),
                        None => Instead::Words("using 15, or the kernel's idle if that is less"),
                    };
                    bad(Variable::Interval, v, p, accepted::DURATION, instead);
                }
            }
        }
        if let Some(v) = environment.get(Variable::Count) {
            match value_or_system(v, value::count(v, MAX_COUNT)) {
                Ok(count) => self.plain.count = count,
                Err(p) => bad(
                    Variable::Count,
                    v,
                    p,
                    accepted::COUNT,
                    Instead::Number(d.count.map_or(0, |n| n.get()).into()),
                ),
            }
        }
        if let Some(v) = environment.get(Variable::UserTimeout) {
            match user_timeout(v) {
                Ok(timeout) => self.plain.user_timeout = timeout,
                Err(p) => {
                    bad(Variable::UserTimeout, v, p, accepted::USER_TIMEOUT, Instead::Words("using off"))
                }
            }
        }
        self.force = false;
        if let Some(v) = environment.get(Variable::Force) {
            match value::boolean(v) {
                Ok(force) => self.force = force,
                Err(p) => bad(Variable::Force, v, p, accepted::BOOLEAN, Instead::Words("using 0")),
            }
        }
        if let Some(v) = environment.get(Variable::Skip) {
            for name in skip::names(v).filter(|name| name.contains(&b'/')) {
                bad(
                    Variable::Skip,
                    name,
                    Problem::SkipIsPath,
                    accepted::SKIP,
                    Instead::Words("using the other names"),
                );
            }
        }
        if let Err((v, p)) = log(environment) {
            bad(
                Variable::Log,
                v,
                p,
                accepted::LOG,
                Instead::Words("using complaints about bad settings only, on stderr"),
            );
        }

        self.rules.clear();
        if let Some(v) = environment.get(Variable::Rules) {
            self.rules.read(v, &self.plain, |n, value, problem, accepted| {
                complain(&Complaint {
                    variable: Variable::Rules,
                    rule: Some(n),
                    value,
                    problem,
                    accepted,
                    instead: Instead::Words(match problem {
                        Problem::TooManyRules => "this rule and all behind it skipped",
                        _ => "rule skipped",
                    }),
                });
            });
        }
        let leans = |values: &Values| values.leans_on() != PerField::default();
        self.leans_on_kernel = leans(&self.plain)
            || self.rules.iter().any(|rule| matches!(&rule.action, Action::Values(v) if leans(v)));
    }
}

/// Whether kashim is switched off altogether. Any value that is no boolean counts as yes: this is the emergency
/// switch, and somebody who pulls it must not have to look up its spelling.
pub fn is_disabled(environment: &Environment) -> bool {
    environment.get(Variable::Disable).is_some_and(|v| value::boolean(v).unwrap_or(true))
}

/// Where `KA_LOG` sends the log, or the value and what is wrong with it.
pub fn log<'a>(environment: &Environment<'a>) -> Result<Log<'a>, (&'a [u8], Problem)> {
    match environment.get(Variable::Log) {
        None => Ok(Log::Complaints),
        Some(b"off") => Ok(Log::Off),
        Some(b"stderr") => Ok(Log::Stderr),
        Some(path @ [b'/', ..]) if path.len() > MAX_LOG_PATH => Err((path, Problem::PathTooLong)),
        Some(path @ [b'/', ..]) => Ok(Log::Path(path)),
        Some(v) if v.contains(&b'/') => Err((v, Problem::RelativePath)),
        Some(v) => Err((v, Problem::NotALogTarget)),
    }
}
