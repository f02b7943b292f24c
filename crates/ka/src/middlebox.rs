//! Middleboxes by name.

use kashim_policy::presets::{PRESETS, Preset};

use crate::error::Error;
use crate::escape::escaped;

/// The middlebox of this name, as given to `--for`.
pub fn by_name(name: &str) -> Result<&'static Preset, Error> {
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let known: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        Error::usage(format!(
            "--for {}: no such middlebox; known are {}",
            escaped(name.as_bytes()),
            known.join(", ")
        ))
    })
}
