//! Standard output.

use std::io::{self, Write};

use crate::cli::error::Error;

/// Prints what is asked for. That it cannot be printed is an error, and not a matter for a panic.
pub fn print(text: impl AsRef<[u8]>) -> Result<(), Error> {
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
        .map_err(|error| Error::new(format!("cannot write to standard output: {error}")))
}
