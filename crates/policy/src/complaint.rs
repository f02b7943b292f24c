//! What is said about a setting that cannot be used.

use core::fmt::Write;

use crate::environment::Variable;
use crate::text::{number, quoted, strings};
use crate::value::Problem;

/// What is used in place of a bad value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// In words.
    Words(&'static str),
    /// A number.
    Number(u32),
}

/// One bad setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// Where it was.
    pub variable: Variable,
    /// For [`Variable::Rules`], which rule, counted from 1.
    pub rule: Option<u32>,
    /// The value, or the rule, as it was given.
    pub value: &'a [u8],
    /// What is wrong with it.
    pub problem: Problem,
    /// What would have been accepted.
    pub accepted: &'static str,
    /// What is used instead.
    pub instead: Instead,
}

impl Complaint<'_> {
    /// Writes the complaint as one line without its end:
    /// `kashim: error: KA_IDLE="5 m": has a blank inside; accepted: ...; using 60`.
    pub fn write(&self, out: &mut dyn Write) {
        strings(out, &["kashim: error: ", self.variable.name()]);
        if let Some(n) = self.rule {
            strings(out, &[" rule "]);
            number(out, n);
            strings(out, &[" "]);
        } else {
            strings(out, &["="]);
        }
        quoted(out, self.value);
        strings(out, &[": ", self.problem.text(), "; accepted: ", self.accepted, "; "]);
        match self.instead {
            Instead::Words(words) => strings(out, &[words]),
            Instead::Number(n) => {
                strings(out, &["using "]);
                number(out, n);
            }
        }
    }
}
