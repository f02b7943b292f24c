//! Finding our variables in an environment.

/// A variable that kashim reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`name` says it")]
pub enum Variable {
    Idle,
    Interval,
    Count,
    UserTimeout,
    Force,
    Rules,
    Skip,
    Disable,
    Log,
}

impl Variable {
    /// All of them.
    pub const ALL: [Variable; 9] = [
        Variable::Idle,
        Variable::Interval,
        Variable::Count,
        Variable::UserTimeout,
        Variable::Force,
        Variable::Rules,
        Variable::Skip,
        Variable::Disable,
        Variable::Log,
    ];

    /// What all the names begin with.
    pub const PREFIX: &'static [u8] = b"KA_";

    /// As it stands in the environment.
    pub fn name(self) -> &'static str {
        match self {
            Variable::Idle => "KA_IDLE",
            Variable::Interval => "KA_INTERVAL",
            Variable::Count => "KA_COUNT",
            Variable::UserTimeout => "KA_USER_TIMEOUT",
            Variable::Force => "KA_FORCE",
            Variable::Rules => "KA_RULES",
            Variable::Skip => "KA_SKIP",
            Variable::Disable => "KA_DISABLE",
            Variable::Log => "KA_LOG",
        }
    }
}

/// Our variables, as bytes of the environment they were found in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'a> {
    values: [Option<&'a [u8]>; Variable::ALL.len()],
}

impl<'a> Environment<'a> {
    /// Takes our variables out of entries of the form `NAME=value`. Of a variable that is there twice the first
    /// counts, as for getenv(3).
    pub fn from_entries(entries: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = Environment::default();
        for entry in entries.filter(|e| e.starts_with(Variable::PREFIX)) {
            for (variable, place) in Variable::ALL.iter().zip(&mut found.values) {
                if let Some([b'=', value @ ..]) = entry.strip_prefix(variable.name().as_bytes()) {
                    place.get_or_insert(value);
                }
            }
        }
        found
    }

    /// The value without blanks around it; `None` if it is unset or empty.
    pub fn get(&self, variable: Variable) -> Option<&'a [u8]> {
        let value = self.values.get(variable as usize).copied().flatten()?;
        Some(crate::value::trim(value)).filter(|v| !v.is_empty())
    }
}
