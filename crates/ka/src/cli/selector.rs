//! The processes that are meant on the command line.

use rustix::process::getpid;

use crate::cli::error::Error;
use crate::output::escape::escaped;
use crate::process::scan;

/// A process, by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// That process, or the one of that thread.
    Pid(i32),
    /// All processes of this name.
    Name(String),
}

impl Selector {
    /// As it stands on the command line: digits alone are a number.
    pub fn new(text: &str) -> Result<Self, Error> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.rsplit('/').next() {
                None | Some("") => Err(Error::usage("a process has a number or a name, and this is neither")),
                Some(name) => Ok(Self::Name(name.to_owned())),
            };
        }
        match text.parse() {
            Ok(pid @ 1..) => Ok(Self::Pid(pid)),
            _ => Err(Error::usage(format!("{text}: no process can have this number"))),
        }
    }

    /// The processes that are meant; an error if there is none.
    pub fn find(&self, all: &[i32]) -> Result<Vec<i32>, Error> {
        let (found, missing) = match self {
            &Self::Pid(pid) => {
                let found = scan::process_of(pid).into_iter().collect();
                (found, format!("{pid}: no such process (in a container, use its numbers there)"))
            }
            Self::Name(name) => {
                let us = getpid().as_raw_nonzero().get();
                let called = |pid: &i32| *pid != us && scan::is_called(*pid, name.as_bytes());
                let found: Vec<i32> = all.iter().copied().filter(called).collect();
                (found, format!("{}: no process has this name", escaped(name.as_bytes())))
            }
        };
        if found.is_empty() { Err(Error::new(missing)) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::Selector;

    #[test]
    fn digits_are_a_number() {
        assert_eq!(Selector::new("17").unwrap(), Selector::Pid(17));
        assert_eq!(Selector::new("x17").unwrap(), Selector::Name("x17".to_owned()));
        assert_eq!(Selector::new("/usr/bin/psql").unwrap(), Selector::Name("psql".to_owned()));
        for bad in ["", "/", "0", "99999999999999999999"] {
            assert!(Selector::new(bad).is_err(), "{bad:?}");
        }
    }
}
