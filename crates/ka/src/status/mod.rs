//! `ka status`.

pub mod args;

use crate::error::Error;
use crate::exit::Exit;

/// Runs it.
pub fn run(_args: args::StatusArgs) -> Result<Exit, Error> {
    Err(Error::new("status: not there yet"))
}
