//! What is said about a setting that cannot be used.

use crate::keepalive::{DEFAULT_INTERVAL, Values};
use crate::line::Line;
use crate::parse::{Accepted, ErrorKind};
use crate::variables::Variable;

/// One bad setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingError<'a> {
    /// Where it was.
    pub variable: Variable,
    /// For [`Variable::Rules`], which rule, counted from 1.
    pub rule: Option<u32>,
    /// The value, or the rule, as it was given.
    pub value: &'a [u8],
    /// What is wrong with it.
    pub problem: ErrorKind,
    /// What would have been accepted.
    pub accepted: Accepted,
    /// What the settings are without it, as far as they were read.
    pub global: Values,
}

impl SettingError<'_> {
    /// Writes the complaint as one line without its end:
    /// `kashim: error: KA_IDLE="5 m": has a blank inside; accepted: ...; using 60`.
    pub fn write(&self, out: &mut Line) {
        out.push_str("kashim: error: ");
        self.fault(out);
        out.push_str("; ");
        self.instead(out);
    }

    /// Writes what is wrong and what is accepted: `KA_IDLE="5 m": has a blank inside; accepted: ...`.
    pub fn fault(&self, out: &mut Line) {
        out.push_bytes(self.variable.text());
        if let Some(n) = self.rule {
            out.push_str(" rule ");
            out.number(n);
            out.push_str(" ");
        } else {
            out.push_str("=");
        }
        out.quoted(self.value);
        out.push_str(": ");
        out.push_bytes(self.problem.text());
        out.push_str("; accepted: ");
        out.push_bytes(self.accepted.text());
    }

    /// Writes what the library does in place of the bad value: `using 60`.
    pub fn instead(&self, out: &mut Line) {
        match self.variable {
            Variable::Rules if self.problem == ErrorKind::TooManyRules => {
                out.push_str("this rule and all later rules skipped");
            }
            Variable::Interval => match self.global.idle {
                Some(idle) => {
                    out.push_str("using ");
                    out.number(DEFAULT_INTERVAL.min(idle.get().into()));
                }
                None => out.push_str("using 15, or the kernel's idle if that is less"),
            },
            variable => out.push_bytes(variable.fallback()),
        }
    }
}
