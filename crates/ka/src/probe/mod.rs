//! `ka probe`.

pub mod args;

use crate::error::Error;
use crate::exit::Exit;

/// Runs it.
pub fn run(_args: args::ProbeArgs) -> Result<Exit, Error> {
    Err(Error::new("probe: not there yet"))
}
