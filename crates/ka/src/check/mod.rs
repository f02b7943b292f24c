//! `ka check`.

pub mod args;

use crate::error::Error;
use crate::exit::Exit;

/// Runs it.
pub fn run(_args: args::CheckArgs) -> Result<Exit, Error> {
    Err(Error::new("check: not there yet"))
}
