//! Middleboxes by name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};
use kashim_policy::middleboxes::{self, MIDDLEBOXES, Middlebox};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// Parses the value of `--for`. It takes everything, since `by_name` says better what is wrong; the names are there
/// for the completions.
#[derive(Clone, Debug)]
pub struct Name;

impl TypedValueParser for Name {
    type Value = OsString;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, value: &OsStr) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = MIDDLEBOXES.iter().map(|preset| PossibleValue::new(preset.name).help(preset.what));
        Some(Box::new(names))
    }
}

/// The middlebox of this name, as given to `--for`.
pub fn by_name(name: &OsStr) -> Result<&'static Middlebox, Error> {
    middleboxes::by_name(name.as_bytes()).ok_or_else(|| {
        let known: Vec<_> = MIDDLEBOXES.iter().map(|preset| preset.name).collect();
        Error::usage(format!(
            "--for \"{}\": no such middlebox; accepted: {} (ka presets describes them)",
            escaped(name.as_bytes()),
            known.join(", ")
        ))
    })
}
