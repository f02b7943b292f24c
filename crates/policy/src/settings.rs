//! All the settings of a process, read from its environment.

use crate::environment::{Environment, Variable};
use crate::keepalive::{Defaults, Desired, Interval, UserTimeout, Values};
use crate::parse::{self, ErrorKind};
use crate::rules::{Action, Rules};
use crate::setting_error::{Accepted, SettingError};
use crate::skip;

/// The longest path that `KA_LOG` may name, in bytes (PATH_MAX less the zero at the end).
pub const MAX_LOG_PATH: usize = 4095;

/// What the hooks need to know about every socket.
///
/// In this order in memory: a process without rules touches the first of the pages that it is spread over, no other.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Settings {
    /// For every connection that no rule is for.
    pub plain: Values,
    /// What the kernel should show then. Right only if nothing leans on the kernel's own values.
    target: Desired,
    /// Our values win over the program's own.
    pub force: bool,
    /// Some value follows from one of the kernel's own, see [`Values::needs_kernel_defaults`].
    pub needs_kernel_defaults: bool,
    /// For single destinations.
    pub rules: Rules,
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
    /// What the kernel should show for a connection that no rule is for, where its own values are `kernel`.
    pub fn desired(&self, kernel: &Defaults) -> Desired {
        if self.needs_kernel_defaults { self.plain.resolve(kernel) } else { self.target }
    }

    /// Whether something holds for the plain settings, or for those of a rule: all that a socket is ever set to.
    #[inline(never)]
    pub fn any_target(&self, kernel: &Defaults, holds: &mut dyn FnMut(&Desired) -> bool) -> bool {
        holds(&self.desired(kernel))
            || self.rules.as_slice().iter().any(|rule| match &rule.action {
                Action::Values(values) => holds(&values.resolve(kernel)),
                Action::Off => false,
            })
    }

    /// All zeroes in memory: a place to read settings into, and nothing that may be used before.
    pub const EMPTY: Settings = Settings {
        plain: Values { idle: None, interval: Interval::System, count: None, user_timeout: UserTimeout::Off },
        target: Desired::NOTHING,
        force: false,
        rules: Rules::NONE,
        needs_kernel_defaults: false,
    };

    /// Reads everything but `KA_DISABLE` into `self`, which may hold anything. Each bad value is handed to `complain`;
    /// that one setting is the default's then, and the rest still apply.
    pub fn read(&mut self, environment: &Environment, complain: &mut dyn FnMut(&SettingError)) {
        self.plain = Values::DEFAULT;
        self.force = false;
        // The values before the rules, which take over what they do not name.
        for &variable in Variable::ALL.iter() {
            let Some(text) = environment.get(variable) else { continue };
            let read = match variable {
                Variable::Force => parse::boolean(text).map(|force| self.force = force),
                Variable::Log => log(environment).map(|_| ()),
                Variable::Skip => skip::check(text),
                _ => self.plain.read(variable, text),
            };
            if let Err(problem) = read {
                let accepted = Accepted::from(variable);
                complain(&SettingError {
                    variable,
                    rule: None,
                    value: text,
                    problem,
                    accepted,
                    plain: self.plain,
                });
            }
        }
        self.rules.clear();
        if let Some(text) = environment.get(Variable::Rules) {
            self.rules.read(text, &self.plain, complain);
        }
        self.target = self.plain.resolve(&Defaults::LINUX);
        self.needs_kernel_defaults = self.plain.needs_kernel_defaults()
            || self.rules.as_slice().iter().any(|rule| match &rule.action {
                Action::Values(values) => values.needs_kernel_defaults(),
                Action::Off => false,
            });
    }
}

/// Whether kashim is switched off altogether. Any value that is no boolean counts as yes: this is the emergency
/// switch, and somebody who pulls it must not have to look up its spelling.
pub fn is_disabled(environment: &Environment) -> bool {
    environment.get(Variable::Disable).is_some_and(|v| parse::boolean(v).unwrap_or(true))
}

/// Where `KA_LOG` sends the log, or what is wrong with its value.
pub fn log<'a>(environment: &Environment<'a>) -> Result<Log<'a>, ErrorKind> {
    match environment.get(Variable::Log) {
        None => Ok(Log::Complaints),
        Some(b"off") => Ok(Log::Off),
        Some(b"stderr") => Ok(Log::Stderr),
        Some(path @ [b'/', ..]) if path.len() > MAX_LOG_PATH => Err(ErrorKind::PathTooLong),
        Some(path @ [b'/', ..]) if is_descriptor(path) => Err(ErrorKind::LogIsDescriptor),
        Some(path @ [b'/', ..]) => Ok(Log::Path(path)),
        Some(v) if skip::base_name(v) != v => Err(ErrorKind::RelativePath),
        Some(_) => Err(ErrorKind::NotALogTarget),
    }
}

/// Whether a path stands for what is open on a descriptor of the process, and so is a link, which is not followed.
fn is_descriptor(path: &[u8]) -> bool {
    [&b"/dev/stdin"[..], b"/dev/stdout", b"/dev/stderr"].contains(&path)
        || path.starts_with(b"/dev/fd/")
        || path.strip_prefix(b"/proc/").is_some_and(|rest| rest.split(|&b| b == b'/').nth(1) == Some(b"fd"))
}
