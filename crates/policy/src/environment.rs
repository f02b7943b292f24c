//! Finding our variables in an environment.

use crate::parse;
use crate::variables::Variable;

/// Our variables, as bytes of the environment they were found in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'a> {
    values: [Option<&'a [u8]>; Variable::ALL.len()],
}

impl<'a> Environment<'a> {
    /// Takes our variables out of entries of the form `NAME=value`. If a variable is set twice, the first wins, as for
    /// getenv(3).
    pub fn from_entries(entries: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = Environment::default();
        for entry in entries.filter(|e| e.starts_with(Variable::PREFIX)) {
            for (variable, place) in Variable::ALL.iter().zip(&mut found.values) {
                if let Some([b'=', value @ ..]) = entry.strip_prefix(variable.text()) {
                    place.get_or_insert(value);
                }
            }
        }
        found
    }

    /// The value without blanks around it; `None` if it is unset or empty.
    pub fn get(&self, variable: Variable) -> Option<&'a [u8]> {
        let value = self.values.get(variable as usize).copied().flatten()?;
        Some(parse::trim(value)).filter(|v| !v.is_empty())
    }
}
