//! Middleboxes by name.

use kashim_policy::middleboxes::{self, MIDDLEBOXES, Middlebox};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// The middlebox of this name, as given to `--for`.
pub fn by_name(name: &[u8]) -> Result<&'static Middlebox, Error> {
    middleboxes::by_name(name).ok_or_else(|| {
        let known: Vec<_> = MIDDLEBOXES.iter().map(|preset| preset.name).collect();
        Error::usage(format!(
            "--for \"{}\": no such middlebox; accepted: {} (ka presets describes them)",
            escaped(name),
            known.join(", ")
        ))
    })
}
