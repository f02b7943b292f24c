//! The variables, in one table: what each is called, the word for it in a rule, what it accepts, what is used in place of
//! a bad value, and how it is read. [`Environment`] has their values in a process, and [`Global`] what these say for every
//! connection.

use crate::keepalive::{Interval, UserTimeout, Values};
use crate::log::Log;
use crate::parse::{self, Accepted, ErrorKind, MAX_COUNT, MAX_SECONDS, MAX_USER_TIMEOUT};
use crate::skip;
use crate::texts::{line, texts};

macro_rules! variables {
    ($($variable:ident {
        name: $name:literal, word: $word:literal, accepted: $accepted:ident, fallback: $fallback:literal,
        read: |$global:pat_param, $text:pat_param| $read:expr,
    })*) => {
        texts! {
            /// A variable that kashim reads.
            pub enum Variable { $($variable = $name,)* }
        }

        impl Variable {
            /// The word by which a rule sets the same, with its `=`; empty if a rule cannot.
            pub fn word(self) -> &'static [u8] {
                const WORDS: &str = concat!($($word, "\n"),*);
                line(WORDS.as_bytes(), self as usize)
            }

            /// What its value may be.
            pub fn accepted(self) -> Accepted {
                match self { $(Variable::$variable => Accepted::$accepted,)* }
            }

            /// What is done in place of a bad value; empty if that depends on another one.
            pub fn fallback(self) -> &'static [u8] {
                const FALLBACKS: &str = concat!($($fallback, "\n"),*);
                line(FALLBACKS.as_bytes(), self as usize)
            }

            /// Reads a value into `global`, which stays as it was if the value is bad.
            pub(crate) fn read<'a>(self, global: &mut Global<'a>, text: &'a [u8]) -> Result<(), ErrorKind> {
                match (self, global, text) { $((Variable::$variable, $global, $text) => $read,)* }
            }
        }
    };
}

variables! {
    Idle {
        name: "KA_IDLE", word: "idle=", accepted: Duration, fallback: "using 60",
        read: |global, text| parse::or_system(text, parse::duration, MAX_SECONDS).map(|idle| global.values.idle = idle),
    }
    Interval {
        name: "KA_INTERVAL", word: "interval=", accepted: Duration, fallback: "",
        read: |global, text| parse::or_system(text, parse::duration, MAX_SECONDS)
            .map(|seconds| global.values.interval = seconds.map_or(Interval::System, Interval::Seconds)),
    }
    Count {
        name: "KA_COUNT", word: "count=", accepted: Count, fallback: "using 9",
        read: |global, text| parse::or_system(text, parse::count, MAX_COUNT).map(|count| global.values.count = count),
    }
    UserTimeout {
        name: "KA_USER_TIMEOUT", word: "user-timeout=", accepted: UserTimeout, fallback: "using off",
        read: |global, text| {
            let read = match text {
                b"off" => Ok(UserTimeout::Off),
                b"auto" => Ok(UserTimeout::Auto),
                _ => parse::duration(text, MAX_USER_TIMEOUT).map(UserTimeout::Seconds),
            };
            read.map(|user_timeout| global.values.user_timeout = user_timeout)
        },
    }
    Force {
        name: "KA_FORCE", word: "", accepted: Boolean, fallback: "using 0",
        read: |global, text| parse::boolean(text).map(|force| global.force = force),
    }
    // Read when the values are known, which take the place of what a rule does not name.
    Rules {
        name: "KA_RULES", word: "", accepted: Rules, fallback: "rule skipped",
        read: |_, _| Ok(()),
    }
    // Read by `skip`, where the program's name is known.
    Skip {
        name: "KA_SKIP", word: "", accepted: Names, fallback: "using the other names",
        read: |_, text| skip::check(text),
    }
    // Any value that is no boolean counts as yes: this is the emergency switch, and somebody who pulls it must not have to
    // look up its spelling.
    Disable {
        name: "KA_DISABLE", word: "", accepted: Boolean, fallback: "using 1",
        read: |global, text| { global.disabled = parse::boolean(text).unwrap_or(true); Ok(()) },
    }
    Log {
        name: "KA_LOG", word: "", accepted: Log, fallback: "using stderr, for bad settings only",
        read: |global, text| Log::read(text).map(|log| global.log = log),
    }
}

impl Variable {
    /// What all the names begin with.
    pub const PREFIX: &'static [u8] = b"KA_";
}

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

impl Values {
    /// Reads a value of one variable. Those that have nothing to do with values change nothing.
    pub fn read(&mut self, variable: Variable, text: &[u8]) -> Result<(), ErrorKind> {
        let mut global = Global::of(*self);
        variable.read(&mut global, text)?;
        *self = global.values;
        Ok(())
    }
}

/// What the variables say for every connection that no rule is for.
#[derive(Clone, Copy, Debug)]
pub struct Global<'a> {
    /// The values.
    pub values: Values,
    /// Our values win over the program's own.
    pub force: bool,
    /// kashim is switched off altogether.
    pub disabled: bool,
    /// Where the log goes.
    pub log: Log<'a>,
    errors: [Option<ErrorKind>; Variable::ALL.len()],
}

impl<'a> Global<'a> {
    /// These values, and nothing else.
    pub(crate) fn of(values: Values) -> Self {
        let errors = [None; Variable::ALL.len()];
        Global { values, force: false, disabled: false, log: Log::default(), errors }
    }

    /// Reads each variable once. In place of a bad value stands the default, and the rest still apply.
    pub fn read(environment: &Environment<'a>) -> Self {
        let mut global = Self::of(Values::DEFAULT);
        for &variable in Variable::ALL {
            if let Some(text) = environment.get(variable) {
                let error = variable.read(&mut global, text).err();
                if let Some(place) = global.errors.get_mut(variable as usize) {
                    *place = error;
                }
            }
        }
        global
    }

    /// What is wrong with each variable. What is wrong with single rules is not among it.
    pub fn errors(&self) -> impl Iterator<Item = (Variable, ErrorKind)> {
        Variable::ALL.iter().zip(self.errors).filter_map(|(&variable, error)| Some((variable, error?)))
    }
}
