//! Middleboxes by name.

use kashim_policy::middleboxes::{MIDDLEBOXES, Middlebox};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// The middlebox of this name, as given to `--for`.
pub fn by_name(name: &str) -> Result<&'static Middlebox, Error> {
    MIDDLEBOXES.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let known: Vec<_> = MIDDLEBOXES.iter().map(|preset| preset.name).collect();
        Error::usage(format!(
            "--for {}: no such middlebox; known are {}",
            escaped(name.as_bytes()),
            known.join(", ")
        ))
    })
}
